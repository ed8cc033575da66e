"""The model card of a run: README.md beside the weights."""

from pathlib import Path

from hype.files import write_text

TEMPLATE = """---
library_name: transformers
pipeline_tag: text-classification
tags: [{tags}]
{base_model}---

# {task}, fine-tuned with {label}

Fine-tuned from {name} ({model_type}, {parameter_count:,} parameters), seed {seed}, on {rows} of {source}.

{score}
{notes}
The folder loads with `AutoModelForSequenceClassification.from_pretrained`. run.json holds every setting and version.
{method}"""
METHOD = (
    "The method is HyPe (Yuan et al., ACL 2023, 2023.acl-long.182): noise on the inputs of the layers in training.\n"
)


def write_card(folder: Path, record: dict) -> None:
    """Write the card of a finished run, whose model is saved, into its folder."""
    model, data = record["model"], record["data"]
    score = "It was not evaluated."
    if record.get("score") is not None:
        rows = data["rows"]["validation"]
        score = f"{record['score_name']} x 100 on {rows} validation examples: {100 * record['score']:.2f} (one seed)."
    notes = [record["sample"] or "", *data["notes"]]
    is_hub_name = not Path(model["name"]).is_dir()
    is_hype = record["noise"] is not None
    content = TEMPLATE.format(
        tags="text-classification, hype" if is_hype else "text-classification",
        method=METHOD if is_hype else "",
        base_model=f"base_model: {model['name']}\n" if is_hub_name else "",
        task=record["task"],
        label=record["label"],
        name=model["name"] if is_hub_name else Path(model["name"]).name,
        model_type=model["model_type"],
        parameter_count=model["parameter_count"],
        seed=record["seed"],
        rows=", ".join(f"{count:,} {split}" for split, count in data["rows"].items()),
        source=data["source"],
        score=score,
        notes="\n".join(f"- {note}" for note in notes if note) + "\n",
    )
    write_text(folder / "README.md", content)
