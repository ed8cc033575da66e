"""Top-K Tuning: train the K highest layers and everything above them. There is no reference code."""

from hype.errors import InputError
from hype.techniques.base import Flag, Technique
from hype.techniques.parts import above_the_layers, layers


class TopKTuning(Technique):
    """Freeze the embeddings and all layers except the K highest. K = 0 trains only the pooler and the head.

    Everything else that feeds the layers or is shared by them is frozen too: ELECTRA's projection, DeBERTa's relative
    positions, XLNet's mask embedding, and the final norm of T5's decoder. Dropout and HyPe stay on in frozen layers.
    """

    name = "Top-K Tuning"
    flags = (
        Flag("top_k_layers", int | None, None, "Top-K Tuning: train only the k highest layers and the head.", low=0),
    )
    order = -1  # first, because the others consider only trainable parameters

    def __init__(self, arguments):
        super().__init__(arguments)
        self.frozen, self.trainable_count = [], 0

    def before_training(self, trainer) -> None:
        k, stack = self.arguments.top_k_layers, layers(trainer.model)
        if k > len(stack):
            raise InputError(f"--top_k_layers {k}: the model has {len(stack)} layers, give 0 to {len(stack)}")
        body, head = above_the_layers(trainer.model)
        trained = {p for part in [*stack[len(stack) - k :], *body, *head] for p in part.parameters()}
        self.frozen = [p for p in trainer.model.parameters() if p.requires_grad and p not in trained]
        for parameter in self.frozen:
            parameter.requires_grad_(False)
        self.trainable_count = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)

    def after_training(self, trainer) -> None:
        for parameter in self.frozen:
            parameter.requires_grad_(True)
        self.frozen = []

    def facts(self):
        return {"trainable_parameters": self.trainable_count}
