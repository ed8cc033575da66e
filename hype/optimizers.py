"""AdamW as in transformers 4.7, which the original code of HyPe, Child-Tuning and RecAdam trains with."""

import math

import torch
from torch.optim.adam import adam

# Names of transformers' --optim for torch's AdamW with moments in full precision, which the optimisers here replace.
TORCH_ADAMW = ("adamw_torch", "adamw_torch_fused")


class LegacyAdamW(torch.optim.Optimizer):
    """The AdamW of transformers 4.7: epsilon outside the bias correction, weight decay after the step.

    With t counted from 1 per parameter, m and v the usual moments and s = lr sqrt(1 - beta2^t) / (1 - beta1^t):
    theta <- theta - s m / (sqrt(v) + eps), then theta <- theta - lr weight_decay theta. Compared to torch's AdamW,
    epsilon is effectively larger by a factor of 1 / sqrt(1 - beta2^t): 31.6 at the first step if beta2 = 0.999.
    """

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        """Update every parameter that has a gradient; return what `closure` returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update(parameter, group)
        return loss

    def update(self, parameter: torch.Tensor, group: dict) -> None:
        """Update one parameter in place."""
        self.adam_step(parameter, group)
        self.decay(parameter, group)

    def adam_step(self, parameter: torch.Tensor, group: dict, share: float = 1.0) -> None:
        """Update the moments and apply `share` of Adam's step to the parameter."""
        state = self.state[parameter]
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(parameter), exp_avg_sq=torch.zeros_like(parameter))
        beta1, beta2 = group["betas"]
        # s m / (sqrt(v) + eps) equals torch's Adam step with eps / sqrt(1 - beta2^t); its fused kernel is one pass.
        adam(
            [parameter], [parameter.grad], [state["exp_avg"]], [state["exp_avg_sq"]], [],
            [torch.tensor(float(state["step"]), device=parameter.device)],
            fused=True, amsgrad=False, maximize=False, weight_decay=0.0, beta1=beta1, beta2=beta2,
            lr=group["lr"] * share, eps=group["eps"] / math.sqrt(1 - beta2 ** (state["step"] + 1)),
        )  # fmt: skip
        state["step"] += 1

    def decay(self, parameter: torch.Tensor, group: dict) -> None:
        """Shrink the parameter by lr times weight decay."""
        if group["weight_decay"] > 0:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
