"""Tables with numbers, categories and missing values: CSV or Parquet files, their rows or windows over time."""
