"""A small neural network, trained from start to end: forward, backward, step, epoch by epoch."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
import torch
from _device import kind, phase, precision, to_device, to_host
from _samples import Samples, digits, read_samples
from pydantic import BaseModel, Field
from torch import Tensor, nn
from torch.nn import functional

from runtime import Context, InvalidInput, MediaType, Scaling, function

MAX_IMAGE_SIDE = 32  # for the cnn, which has 8 × hidden weights a pixel
MOMENTUM = 0.9
HELD_OUT = 5  # every fifth row is kept for testing


class Epoch(BaseModel):
    """What one pass over the training rows brought."""

    epoch: int
    loss: Annotated[float, Field(description="mean cross-entropy over the training rows, in nats")]
    accuracy: Annotated[float, Field(description="share of the held-out rows that are right")]
    seconds: Annotated[float, Field(description="of training, testing left out")]


class Training(BaseModel):
    """A trained network: how good it is, how fast it learned, and where its weights are."""

    model: str
    n: Annotated[int, Field(description="rows trained on")]
    held_out: Annotated[int, Field(description="rows tested on, never trained on")]
    classes: list[str]
    parameters: Annotated[int, Field(description="trained numbers")]
    epochs: int
    dtype: str
    device: Literal["cpu", "gpu"]
    accuracy: Annotated[float, Field(description="share of the held-out rows that are right")]
    losses: Annotated[list[float], Field(description="mean training loss of each epoch")]
    seconds: Annotated[float, Field(description="of training, testing left out")]
    samples_per_second: float
    weights: Annotated[str, Field(description="link to the weights, a safetensors file")]


@function(
    devices=("cpu", "gpu"),
    timeout=600,
    cost="epochs * hidden",
    # One training at a time keeps a device busy: another waiting is worth another replica.
    scaling={"cpu": Scaling(target=1), "gpu": Scaling(target=1, cooldown=120)},
)
def neural_network(
    context: Context,
    model: Annotated[
        Literal["mlp", "cnn"],
        Field(description="mlp: one hidden layer; cnn: two convolutions before it, for images"),
    ] = "mlp",
    epochs: Annotated[int, Field(ge=1, le=1000, description="passes over the rows")] = 10,
    batch_size: Annotated[int, Field(ge=1, le=1024, description="rows a step")] = 64,
    hidden: Annotated[int, Field(ge=1, le=4096, description="units of the hidden layer")] = 128,
    learning_rate: Annotated[float, Field(gt=0, le=1, description="size of a step")] = 0.05,
    dtype: Annotated[
        Literal["float32", "tf32", "bfloat16"],
        Field(description="number format of the products; the weights are kept in float32"),
    ] = "float32",
    seed: Annotated[
        int, Field(ge=0, lt=2**32, description="of the split, the first weights and the order")
    ] = 0,
    data: Annotated[
        bytes | None,
        MediaType("application/octet-stream"),
        Field(description="CSV with the class in its last column, or .npz with X and y"),
    ] = None,
) -> Iterator[Epoch | Training]:
    """Train a classifier on scikit-learn's digits or on your own rows; stream every epoch.

    A fifth of the rows is held out and tells the accuracy.  Features are standardised by the
    training rows' mean and deviation, which are kept in the weights file.  The same seed gives the
    same network on the same device.  On a GPU, steps that are not kept go first, unmeasured.

    tf32 and bfloat16 use a GPU's tensor cores; weights, their steps and the loss stay in float32.
    Factors are rounded to 11 bits in tf32 (on a CPU it is float32) and to 8 in bfloat16.  On the
    digits and a CPU, bfloat16 moved the mlp's losses by at most 0.4 % and its accuracy not at all.
    The cnn's moved by 1 % in the first epoch and then went their own way, as they do after any
    rounding of that size; its accuracy stayed within 0.014.

    At most 1 million rows of 16384 features, or for the cnn images of 32 × 32.
    """
    with context.timer("load"):
        samples = digits() if data is None else read_samples(data)
        if model == "cnn":
            samples = as_images(samples)
        generator = torch.Generator().manual_seed(seed)
        train, test = hold_out(len(samples.labels), generator)
        network = build(model, samples, train, hidden, generator)
        standardize, layers = network[0], network[1:]
        # Once and here, not in every batch, and so half the bytes to copy: float32.
        features = standardize(torch.from_numpy(samples.features))
    x, y = to_device(context, features, torch.from_numpy(samples.labels))
    with phase(context, "transfer_in"):
        network.to(context.device, non_blocking=True)
    trainer = Trainer(context, layers, x, y, batch_size, learning_rate, dtype)
    losses: list[float] = []
    seconds = 0.0
    with precision(tf32=dtype == "tf32"):
        trainer.warm_up(train)
        for number in range(1, epochs + 1):
            began = time.perf_counter()
            loss = trainer.epoch(train[torch.randperm(len(train), generator=generator)])
            if context.cancelled:
                return
            if not math.isfinite(loss):
                raise InvalidInput(
                    "learning_rate", f"makes the loss infinite in epoch {number}: try a tenth"
                )
            seconds += (took := time.perf_counter() - began)
            losses.append(loss)
            accuracy = trainer.accuracy(test)
            context.progress(number / epochs, epoch=number, loss=loss, accuracy=accuracy)
            yield Epoch(epoch=number, loss=loss, accuracy=accuracy, seconds=took)
    yield Training(
        model=model,
        n=len(train),
        held_out=len(test),
        classes=samples.classes,
        parameters=sum(weights.numel() for weights in trainer.parameters),
        epochs=epochs,
        dtype=dtype,
        device=kind(context),
        accuracy=accuracy,
        losses=losses,
        seconds=seconds,
        samples_per_second=epochs * len(train) / seconds,
        weights=keep_weights(context, model, network, samples.classes),
    )


class Trainer:
    """Stochastic gradient descent with momentum, over rows that lie on the device.

    v ← 0.9 v + ∇loss, w ← w − learning_rate · v (Sutskever et al., 2013, and torch.optim.SGD).
    Written out since torch.optim loads torch's compiler at first use, 1.9 seconds in each replica.

    A step is so small that a GPU spends it waiting to be told the next operation.  So there are few
    of them: all parameters step at once, the rows of an epoch are laid in order once, and nothing
    is read back before the epoch ends.
    """

    def __init__(
        self,
        context: Context,
        network: nn.Module,
        x: Tensor,
        y: Tensor,
        batch_size: int,
        learning_rate: float,
        dtype: str = "float32",
    ) -> None:
        self.context = context
        self.network = network
        self.x, self.y = x, y
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.dtype = dtype
        self.parameters: list[Tensor] = list(network.parameters())
        self.speeds = [torch.zeros_like(weights) for weights in self.parameters]

    def epoch(self, order: Tensor) -> float:
        """Learn from these rows in this order: their mean loss.  Stops early when cancelled."""
        with phase(self.context, "compute"):
            total = torch.zeros((), device=self.x.device)  # stays there: no wait for each batch
            for x, y in self.batches(order, self.batch_size):
                if self.context.cancelled:
                    break
                loss, gradients = self.backward(x, y)
                self.step(gradients)
                total.add_(loss, alpha=len(y))
        return total.item() / len(order)

    def batches(self, order: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """These rows in this order and their classes, as views, `size` at a time."""
        rows = order.to(self.x.device)
        return zip(torch.split(self.x[rows], size), torch.split(self.y[rows], size), strict=True)

    def scores(self, x: Tensor) -> Tensor:
        """What the network says to these rows, in float32."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.dtype == "bfloat16"):
            scores: Tensor = self.network(x)
        return scores.float()

    def backward(self, x: Tensor, y: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The mean loss over these rows, and its gradient by each parameter."""
        loss = functional.cross_entropy(self.scores(x), y)
        return loss.detach(), torch.autograd.grad(loss, self.parameters)

    @torch.no_grad()
    def step(self, gradients: tuple[Tensor, ...]) -> None:
        """Move every parameter down its gradient: three operations, however many parameters."""
        torch._foreach_mul_(self.speeds, MOMENTUM)
        torch._foreach_add_(self.speeds, gradients)
        torch._foreach_sub_(self.parameters, self.speeds, alpha=self.learning_rate)

    @torch.no_grad()
    def accuracy(self, rows: Tensor) -> float:
        """The share of these rows whose class the network names."""
        with phase(self.context, "test"):
            right = torch.zeros((), dtype=torch.int64, device=self.x.device)
            for x, y in self.batches(rows, 1024):
                right += (self.scores(x).argmax(1) == y).sum()
        return int(right) / len(rows)

    def warm_up(self, rows: Tensor) -> None:
        """On a GPU, load the kernels of an epoch's batches without learning from them."""
        if kind(self.context) == "gpu":
            with phase(self.context, "warm_up"):
                for size in {min(self.batch_size, len(rows)), len(rows) % self.batch_size} - {0}:
                    self.backward(*next(self.batches(rows[:size], size)))
                self.step(tuple(torch.zeros_like(speed) for speed in self.speeds))  # none: at rest


class Standardize(nn.Module):
    """(x − mean) / scale in float64, then float32; both are kept with the network's weights."""

    mean: Tensor
    scale: Tensor

    def __init__(self, rows: np.ndarray) -> None:
        super().__init__()
        mean, scale = rows.mean(axis=0), rows.std(axis=0)
        scale[scale <= 1e-12 * abs(mean)] = 1.0  # it never changes but for rounding, and becomes 0
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("scale", torch.from_numpy(scale))

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) / self.scale).float()


def hold_out(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Shuffled row numbers to train on, and a fifth of all to test on."""
    order = torch.randperm(rows, generator=generator)
    held_out = rows // HELD_OUT
    return order[held_out:], order[:held_out]


def as_images(samples: Samples) -> Samples:
    """The samples as square images, where they are rows; InvalidInput where they cannot be."""
    shape = samples.features.shape[1:]
    if len(shape) == 1:
        side = math.isqrt(shape[0])
        if side * side != shape[0]:
            raise InvalidInput(
                "model",
                f"cnn needs images, and {shape[0]} features make no square: take mlp, or send an"
                " .npz with X as rows × height × width",
            )
        shape = (side, side)
    if max(shape) > MAX_IMAGE_SIDE:
        raise InvalidInput(
            "model", f"cnn takes images up to {MAX_IMAGE_SIDE} × {MAX_IMAGE_SIDE}: shrink, or mlp"
        )
    return replace(samples, features=samples.features.reshape(-1, *shape))


def build(
    model: str, samples: Samples, train: Tensor, hidden: int, generator: torch.Generator
) -> nn.Sequential:
    """The untrained network, on the CPU, so that it starts the same for every device."""
    shape = samples.features.shape[1:]
    layers = (cnn if model == "cnn" else mlp)(shape, hidden, len(samples.classes))
    for weights in layers.parameters():  # anew, from our own generator
        if weights.dim() > 1:
            nn.init.kaiming_uniform_(weights, nonlinearity="relu", generator=generator)
        else:
            nn.init.zeros_(weights)
    return nn.Sequential(Standardize(samples.features[train.numpy()]), *layers)


def mlp(shape: tuple[int, ...], hidden: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(math.prod(shape), hidden), nn.ReLU(), nn.Linear(hidden, classes)
    )


def cnn(shape: tuple[int, ...], hidden: int, classes: int) -> nn.Sequential:
    height, width = shape
    return nn.Sequential(
        nn.Unflatten(1, (1, height)),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),  # halves both sides, rounding up
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * -(-height // 2) * -(-width // 2), hidden),
        nn.ReLU(),
        nn.Linear(hidden, classes),
    )


def keep_weights(context: Context, model: str, network: nn.Module, classes: list[str]) -> str:
    """Put the weights beside the result, as safetensors: the link to them.

    The model and its classes are in the file too: as one entry, since several have no fixed order.
    """
    from safetensors.torch import save

    state = network.state_dict()
    tensors = dict(zip(state, to_host(context, *state.values()), strict=True))
    data = save(tensors, {"network": json.dumps({"model": model, "classes": classes})})
    return context.output_blob("weights.safetensors", data, "application/octet-stream")
