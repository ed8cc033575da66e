"""Tables of results: as text for the terminal, and per layer for figures 3 and 4."""

import math

import pandas as pd


def layer_table(records: list[dict]) -> pd.DataFrame:
    """Return records of probing or similarity as a table of layer, score (as recorded), method and seed."""
    rows = [
        {"layer": layer, "score": score, "method": record["label"], "seed": record["seed"]}
        for record in records
        for layer, score in enumerate(record["results"]["layers"])
    ]
    return pd.DataFrame(rows, columns=["layer", "score", "method", "seed"])


def result_table(records: list[dict]) -> str:
    """Return a text table with a row for each record: its accuracy x 100, or its value per layer (probing: x 100).

    Remarks on sample data follow the table.
    """
    rows = []
    for record in records:
        row = {"method": record["label"], "seed": record["seed"], "trained on": record["task"], "set": record["target"]}
        row["rows"] = list(record["data"]["rows"].values())[-1]
        if "layers" in record["results"]:
            factor = 100 if record["analysis"] == "probing" else 1
            layers = enumerate(record["results"]["layers"])
            row |= {f"layer {i}": math.nan if value is None else factor * value for i, value in layers}
        else:
            row["accuracy x 100"] = 100 * record["results"]["accuracy"]
        rows.append(row)
    table = pd.DataFrame(rows).to_string(index=False, na_rep="-", float_format="{:.2f}".format)
    return "\n".join([table, *sorted({record["sample"] for record in records if record["sample"]})])
