"""Looking at directories of shards: `tfdml verify`, `inspect` and `stats`. No TensorFlow here."""
