"""Say what a directory of shards holds, and show its first records.

    tfdml inspect shards                      # or: python -m data_tools.inspect shards
    tfdml inspect shards --split=test --records=3
    tfdml inspect gs://bucket/shards

It reads what `tfdml convert` wrote, any TFDS data set of TFRecords, and shards without a side file,
whose features are guessed from the first records. Of remote shards only the beginning is fetched.
"""

from __future__ import annotations

if __name__ == "inspect":
    # `python data_tools/convert.py` puts this directory before the standard library's, where another
    # module of this name is wanted.
    import importlib.util
    import sys
    import sysconfig

    _file = f"{sysconfig.get_path('stdlib')}/inspect.py"
    _spec = importlib.util.spec_from_file_location("inspect", _file)
    assert _spec and _spec.loader
    sys.modules["inspect"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["inspect"])
else:
    from absl import flags

    from tfdml.cli.data_tool import one_directory, run_tool
    from tfdml.data.checks.inspection_report import report_lines
    from tfdml.data.format.dataset_directory import DatasetDirectory

    _INPUT_DIR = flags.DEFINE_string("input_dir", None, "The directory of shards, or its URL.")
    _SPLIT = flags.DEFINE_string("split", None, "Show one split only.")
    _RECORDS = flags.DEFINE_integer(
        "records", 1, "Show so many records of each split; 0 shows none.", lower_bound=0
    )


def main(words: list[str]) -> None:
    directory = DatasetDirectory.open(one_directory(words, _INPUT_DIR.value))
    for line in report_lines(directory, _SPLIT.value, _RECORDS.value):
        print(line)


if __name__ == "__main__":
    run_tool(main, __doc__)
