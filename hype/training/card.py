"""The model card of a run: README.md next to the weights."""

from pathlib import Path

from hype.files import write_text

TEMPLATE = """---
library_name: transformers
pipeline_tag: text-classification
tags: [{tags}]
{base_model}---

# {task}, fine-tuned with {label}

Fine-tuned from {name} ({model[model_type]}, {model[parameter_count]:,} parameters), seed {seed}, on {rows} of {source}.

{result}
{notes}
Load this folder with `AutoModelForSequenceClassification.from_pretrained`. run.json lists all settings and versions.
{method}"""
METHOD = "The method is HyPe (Yuan et al., ACL 2023, 2023.acl-long.182): noise on the layer inputs during training.\n"


def write_card(folder: Path, record: dict) -> None:
    """Write the model card into the folder of a run whose model is saved."""
    name, rows = record["model"]["name"], record["data"]["rows"]
    result = "The model was not evaluated."
    if record["score"] is not None:
        score = f"{record['score_name']} x 100 on {rows['validation']} validation examples: {100 * record['score']:.2f}"
        result = f"{score} (one seed)."
    notes = [record["sample"] or "", *record["data"]["notes"]]
    is_hub_name, is_hype = not Path(name).is_dir(), record["noise"] is not None
    content = TEMPLATE.format(
        **record,
        tags="text-classification, hype" if is_hype else "text-classification",
        base_model=f"base_model: {name}\n" if is_hub_name else "",
        name=name if is_hub_name else Path(name).name,
        source=record["data"]["source"],
        rows=", ".join(f"{count:,} {split}" for split, count in rows.items()),
        result=result,
        notes="".join(f"- {note}\n" for note in notes if note),
        method=METHOD if is_hype else "",
    )
    write_text(folder / "README.md", content)
