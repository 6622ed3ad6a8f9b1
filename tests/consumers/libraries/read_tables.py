"""datasets, pandas, polars, DuckDB, fastparquet, pyarrow: `python read_tables.py EXPORTS`, as `told` tells."""

import csv
import json
import sys

import datasets
import duckdb
import fastparquet
import pandas
import polars
import pyarrow.parquet
from told import pairs, talk, tell

ROOT = sys.argv[1]


def column(values):
    """Talks of a column of messages, of JSON or of what a library makes of it."""
    return [talk(json.loads(value) if isinstance(value, str) else value) for value in values]


def rows(frame):
    """Talks of the columns question and answer."""
    return pairs(list(frame["question"]), list(frame["answer"]))


def hugging(*names, **options):
    """All parts of a data set."""
    loaded = datasets.load_dataset(*(name.format(ROOT) for name in names), **options)
    return [row for part in loaded.values() for row in part]


def hugging_files(kind, name, **options):
    """A data set of one file."""
    return hugging(kind, data_files=f"{ROOT}/{name}", **options)


def pairs_of(found):
    """Talks of rows with question and answer."""
    return pairs([row["question"] for row in found], [row["answer"] for row in found])


def duck(statement):
    """What DuckDB answers."""
    return duckdb.sql(statement.format(ROOT)).fetchall()


PANDAS = {"lines": True}
AS_TEXT = {"dtype": False, "convert_dates": False}
ROWS = "select question, answer from "
PLAIN = "dateformat='none', timestampformat='none'"

tell(
    {
        ("openai.jsonl", "datasets: load_dataset('json')"): lambda: [
            talk(row["messages"]) for row in hugging_files("json", "openai.jsonl")
        ],
        ("openai/", "datasets: load_dataset(DIR)"): lambda: [talk(row["messages"]) for row in hugging("{}/openai")],
        ("sharegpt.jsonl", "datasets: load_dataset('json')"): lambda: [
            talk(row["conversations"], "from", "value") for row in hugging_files("json", "sharegpt.jsonl")
        ],
        ("alpaca.jsonl", "datasets: load_dataset('json')"): lambda: [
            *pairs(*zip(*[(row["instruction"], row["output"]) for row in hugging_files("json", "alpaca.jsonl")]))
        ],
        ("trl.jsonl", "datasets: load_dataset('json')"): lambda: [
            talk(row["prompt"] + row["completion"]) for row in hugging_files("json", "trl.jsonl")
        ],
        ("huggingface/", "datasets: load_dataset(DIR)"): lambda: [
            talk(row["messages"]) for row in hugging("{}/huggingface")
        ],
        ("pairs.parquet", "datasets: load_dataset('parquet')"): lambda: pairs_of(
            hugging_files("parquet", "pairs.parquet")
        ),
        ("pairs.csv", "datasets: load_dataset('csv')"): lambda: pairs_of(hugging_files("csv", "pairs.csv")),
        ("pairs.csv", "datasets: load_dataset('csv', keep_default_na=False)"): lambda: pairs_of(
            hugging_files("csv", "pairs.csv", keep_default_na=False)
        ),
        ("dates.jsonl", "datasets: load_dataset('json')"): lambda: [
            talk(row["messages"]) for row in hugging_files("json", "dates.jsonl")
        ],
        ("dates-alpaca.jsonl", "datasets: load_dataset('json')"): lambda: [
            *pairs(*zip(*[(row["instruction"], row["output"]) for row in hugging_files("json", "dates-alpaca.jsonl")]))
        ],
        ("dates.parquet", "datasets: load_dataset('parquet')"): lambda: pairs_of(
            hugging_files("parquet", "dates.parquet")
        ),
        ("dates-huggingface/", "datasets: load_dataset(DIR)"): lambda: [
            talk(row["messages"]) for row in hugging("{}/dates-huggingface")
        ],
        ("openai.jsonl", "pandas: read_json(lines=True)"): lambda: column(
            pandas.read_json(f"{ROOT}/openai.jsonl", **PANDAS)["messages"]
        ),
        ("alpaca.jsonl", "pandas: read_json(lines=True, dtype=False, convert_dates=False)"): lambda: pairs(
            *[
                list(pandas.read_json(f"{ROOT}/alpaca.jsonl", **PANDAS, **AS_TEXT)[key])
                for key in ("instruction", "output")
            ]
        ),
        ("dates-alpaca.jsonl", "pandas: read_json(lines=True, dtype=False, convert_dates=False)"): lambda: pairs(
            *[
                list(pandas.read_json(f"{ROOT}/dates-alpaca.jsonl", **PANDAS, **AS_TEXT)[key])
                for key in ("instruction", "output")
            ]
        ),
        ("pairs.parquet", "pandas: read_parquet"): lambda: rows(pandas.read_parquet(f"{ROOT}/pairs.parquet")),
        ("pairs.csv", "pandas: read_csv"): lambda: rows(pandas.read_csv(f"{ROOT}/pairs.csv")),
        ("pairs.csv", "pandas: read_csv(dtype=str, keep_default_na=False)"): lambda: rows(
            pandas.read_csv(f"{ROOT}/pairs.csv", dtype=str, keep_default_na=False)
        ),
        ("openai.jsonl", "polars: read_ndjson"): lambda: column(polars.read_ndjson(f"{ROOT}/openai.jsonl")["messages"]),
        ("dates.jsonl", "polars: read_ndjson"): lambda: column(polars.read_ndjson(f"{ROOT}/dates.jsonl")["messages"]),
        ("pairs.parquet", "polars: read_parquet"): lambda: rows(polars.read_parquet(f"{ROOT}/pairs.parquet")),
        ("pairs.csv", "polars: read_csv"): lambda: rows(polars.read_csv(f"{ROOT}/pairs.csv")),
        ("huggingface/", "polars: read_parquet"): lambda: column(
            polars.read_parquet(f"{ROOT}/huggingface/data/*.parquet")["messages"].to_list()
        ),
        ("openai.jsonl", "DuckDB: read_json"): lambda: column(
            row[0] for row in duck("select messages from read_json('{}/openai.jsonl')")
        ),
        ("dates-alpaca.jsonl", "DuckDB: read_json"): lambda: pairs(
            *zip(*duck("select instruction, output from read_json('{}/dates-alpaca.jsonl')"))
        ),
        ("dates-alpaca.jsonl", f"DuckDB: read_json({PLAIN})"): lambda: pairs(
            *zip(*duck(f"select instruction, output from read_json('{{}}/dates-alpaca.jsonl', {PLAIN})"))
        ),
        ("pairs.parquet", "DuckDB: read_parquet"): lambda: pairs(
            *zip(*duck(ROWS + "read_parquet('{}/pairs.parquet')"))
        ),
        ("pairs.csv", "DuckDB: read_csv"): lambda: pairs(*zip(*duck(ROWS + "read_csv('{}/pairs.csv')"))),
        ("huggingface/", "DuckDB: read_parquet"): lambda: column(
            row[0] for row in duck("select messages from read_parquet('{}/huggingface/data/*.parquet')")
        ),
        ("pairs.parquet", "fastparquet: ParquetFile"): lambda: rows(
            fastparquet.ParquetFile(f"{ROOT}/pairs.parquet").to_pandas()
        ),
        ("huggingface/", "fastparquet: ParquetFile"): lambda: column(
            fastparquet.ParquetFile(f"{ROOT}/huggingface/data/train-00000.parquet").to_pandas()["messages"]
        ),
        ("huggingface/", "pyarrow: read_table"): lambda: column(
            pyarrow.parquet.read_table(f"{ROOT}/huggingface/data")["messages"].to_pylist()
        ),
        ("pairs.csv", "Python: csv.DictReader"): lambda: pairs_of(
            [*csv.DictReader(open(f"{ROOT}/pairs.csv", encoding="utf-8", newline=""))]
        ),
    }
)
