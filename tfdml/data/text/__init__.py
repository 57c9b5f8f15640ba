"""Text for language models: files are split, a tokenizer is trained, and rows of tokens become shards, once."""
