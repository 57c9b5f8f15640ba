"""What shards hold and how it is written: records, their index, the manifest, the schema. No TensorFlow here."""
