"""The shipped function neural_network: it learns, repeats itself, and hands out its weights."""

import io
import json
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load as load_weights
from sklearn.datasets import load_digits, load_iris
from torch.utils._python_dispatch import TorchDispatchMode

from runtime import Context, InvalidInput
from runtime.function import FunctionSpec


@pytest.fixture(scope="session")
def neural_network(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("neural_network")


def train(neural_network: ModuleType, context: Context, **parameters: Any) -> Any:
    """The last value the function yields, which is its result."""
    *_, result = neural_network.neural_network(context, **parameters)
    return result


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def iris_csv(header: str = "", end: str = "\n") -> bytes:
    """Fisher's irises with the names of their species, as text."""
    iris = load_iris()
    rows = [
        ",".join(map(str, row)) + f",{iris.target_names[kind]}"
        for row, kind in zip(iris.data, iris.target, strict=True)
    ]
    return (header + end.join(rows)).encode()


@pytest.mark.parametrize("dtype", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_it_learns_digits_it_has_not_seen(
    neural_network: ModuleType, either: Context, model: str, dtype: str
) -> None:
    result = train(neural_network, either, model=model, epochs=8, dtype=dtype)
    assert result.accuracy >= 0.95 and result.dtype == dtype
    assert (result.n, result.held_out, result.epochs) == (1438, 359, 8)
    assert result.device == ("gpu" if either.device.type == "cuda" else "cpu")
    assert result.losses[-1] < result.losses[0] / 5
    assert result.samples_per_second == pytest.approx(8 * 1438 / result.seconds)
    assert {"load", "transfer_in", "compute", "test", "transfer_out"} <= set(either.phases)


# What rounding moves the losses by, as measured on a CPU, times a few; the cnn's part after two
# epochs, whatever disturbed them.
@pytest.mark.parametrize(
    ("model", "dtype", "epochs", "allowed"),
    [
        ("mlp", "float32", 5, 1e-4),
        ("mlp", "tf32", 5, 1e-2),
        ("mlp", "bfloat16", 5, 2e-2),
        ("cnn", "float32", 2, 1e-4),
        ("cnn", "tf32", 1, 5e-2),
        ("cnn", "bfloat16", 1, 5e-2),
    ],
)
def test_every_device_and_dtype_learns_what_a_cpu_does_in_float32(
    neural_network: ModuleType,
    context: Context,
    either: Context,
    model: str,
    dtype: str,
    epochs: int,
    allowed: float,
) -> None:
    exact = train(neural_network, context, model=model, epochs=epochs)
    result = train(neural_network, either, model=model, epochs=epochs, dtype=dtype)
    assert result.losses == pytest.approx(exact.losses, rel=allowed)
    assert result.accuracy == pytest.approx(exact.accuracy, abs=0.02)
    if dtype == "bfloat16":
        assert result.losses != exact.losses


def test_the_numbers_of_a_seed_stay_what_they_were(
    neural_network: ModuleType, context: Context
) -> None:
    result = train(neural_network, context, epochs=3, seed=5)
    assert result.losses == pytest.approx([0.87172, 0.145362, 0.064658], rel=1e-4)
    assert result.accuracy == pytest.approx(0.961, abs=0.003)


def test_weights_are_float32_whatever_the_products_are(
    neural_network: ModuleType, either: Context, tmp_path: Path
) -> None:
    train(neural_network, either, epochs=1, model="cnn", dtype="bfloat16")
    data = (tmp_path / either.invocation_id / "weights.safetensors").read_bytes()
    kinds = {name: tensor.dtype for name, tensor in load_weights(data).items()}
    assert kinds.pop("0.mean") == kinds.pop("0.scale") == torch.float64
    assert set(kinds.values()) == {torch.float32}


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what torch is told to do, by operator."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.told: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.told[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


READS = ("_local_scalar_dense", "nonzero", "masked_select", "equal")  # each waits for a GPU


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("model", ["mlp", "cnn"])
@pytest.mark.parametrize("batch_size", [1024, 16])
def test_an_epoch_reads_two_numbers_back_however_many_steps_it_has(
    neural_network: ModuleType, context: Context, model: str, dtype: str, batch_size: int
) -> None:
    digits = neural_network.digits()
    few = npz(X=digits.features[:200], y=digits.labels[:200])  # one step an epoch, or ten
    parameters = {"data": few, "model": model, "dtype": dtype, "batch_size": batch_size}
    counts = []
    for epochs in (1, 3):
        with Operations() as operations:
            train(neural_network, context, epochs=epochs, **parameters)
        counts.append(sum(operations.told[name] for name in READS))
    assert counts[1] - counts[0] == 2 * 2  # of each further epoch: its loss, its accuracy


def test_a_step_is_three_operations_however_many_parameters_there_are(
    neural_network: ModuleType, context: Context
) -> None:
    network = torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(7)))
    trainer = neural_network.Trainer(context, network, torch.rand(4, 3), torch.arange(4) % 3, 2, 1)
    with Operations() as operations:
        trainer.step(tuple(torch.ones_like(weights) for weights in trainer.parameters))
    assert {k: n for k, n in operations.told.items() if "foreach" in k} == {
        "_foreach_mul_": 1,
        "_foreach_add_": 1,
        "_foreach_sub_": 1,
    }
    assert sum(operations.told.values()) == 3 + len(trainer.parameters)  # and ours above


def test_a_step_at_rest_moves_nothing(neural_network: ModuleType, context: Context) -> None:
    network = torch.nn.Linear(3, 2)
    before = [weights.detach().clone() for weights in network.parameters()]
    trainer = neural_network.Trainer(context, network, torch.rand(4, 3), torch.arange(4) % 2, 2, 1)
    trainer.step(tuple(torch.zeros_like(weights) for weights in trainer.parameters))
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_every_epoch_is_an_event_and_the_training_comes_last(
    neural_network: ModuleType, context: Context
) -> None:
    *epochs, result = neural_network.neural_network(context, epochs=3)
    assert [e.epoch for e in epochs] == [1, 2, 3]
    assert [e.loss for e in epochs] == result.losses
    assert epochs[-1].accuracy == result.accuracy
    assert sum(e.seconds for e in epochs) == pytest.approx(result.seconds)
    assert context.progress_events == [
        {"fraction": e.epoch / 3, "epoch": e.epoch, "loss": e.loss, "accuracy": e.accuracy}
        for e in epochs
    ]


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    neural_network: ModuleType, either: Context, tmp_path: Path, model: str
) -> None:
    def weights(seed: int) -> bytes:
        train(neural_network, either, model=model, epochs=2, seed=seed)
        return (tmp_path / either.invocation_id / "weights.safetensors").read_bytes()

    first = weights(7)
    torch.rand(3)  # somebody else draws random numbers in between
    assert weights(7) == first
    assert weights(8) != first


def forward(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The multilayer perceptron, written down a second time from its weights alone."""
    x = ((x - weights["0.mean"]) / weights["0.scale"]).float().flatten(1)
    x = (x @ weights["2.weight"].T + weights["2.bias"]).clamp(min=0)
    return x @ weights["4.weight"].T + weights["4.bias"]


def test_the_weights_alone_reproduce_the_accuracy(
    neural_network: ModuleType, context: Context, tmp_path: Path
) -> None:
    result = train(neural_network, context, epochs=3, seed=4)
    assert result.weights == f"/invocations/{context.invocation_id}/blobs/weights.safetensors"
    (part,) = context.outputs
    assert (part.name, part.media_type) == ("weights.safetensors", "application/octet-stream")
    data = (tmp_path / context.invocation_id / "weights.safetensors").read_bytes()
    digits = load_digits()
    _, test = neural_network.hold_out(1797, torch.Generator().manual_seed(4))
    weights = load_weights(data)
    guesses = forward(weights, torch.from_numpy(digits.images[test])).argmax(1)
    assert float(np.mean(guesses.numpy() == digits.target[test])) == result.accuracy
    trained = sum(v.numel() for k, v in weights.items() if not k.startswith("0."))
    assert result.parameters == trained == 64 * 128 + 128 + 128 * 10 + 10
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    about = json.loads(header["__metadata__"]["network"])
    assert about == {"model": "mlp", "classes": list("0123456789")}


def test_the_optimizer_is_torchs_momentum(neural_network: ModuleType, context: Context) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(40, 6, generator=generator), torch.arange(40) % 3
    ours, theirs = (torch.nn.Linear(6, 3) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    trainer = neural_network.Trainer(context, ours, x, y, 8, 0.1)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        trainer.epoch(torch.arange(40))
        for rows in torch.arange(40).reshape(5, 8):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(theirs(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_training_rows_are_never_tested_on(neural_network: ModuleType) -> None:
    train_rows, test_rows = neural_network.hold_out(53, torch.Generator().manual_seed(1))
    assert sorted([*train_rows.tolist(), *test_rows.tolist()]) == list(range(53))
    assert len(test_rows) == 10


@pytest.mark.parametrize("header", ["", "sepal length,sepal width,petal length,petal width,kind\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_csv_is_learned_with_or_without_a_header(
    neural_network: ModuleType, either: Context, header: str, end: str
) -> None:
    result = train(neural_network, either, data=iris_csv(header, end), epochs=30, batch_size=16)
    assert result.classes == ["setosa", "versicolor", "virginica"]
    assert result.n + result.held_out == 150
    assert result.accuracy >= 0.9


@pytest.mark.parametrize("model", ["mlp", "cnn"])
@pytest.mark.parametrize("flat", [True, False])
def test_an_npz_is_learned_from_rows_and_from_images(
    neural_network: ModuleType, either: Context, model: str, flat: bool
) -> None:
    digits = load_digits()
    images = digits.data if flat else digits.images
    data = npz(X=images[:700].astype(np.uint8), y=digits.target[:700])
    result = train(neural_network, either, data=data, model=model, epochs=10)
    assert result.classes == [str(d) for d in range(10)]
    assert result.accuracy >= 0.9


def test_a_cnn_takes_images_of_odd_and_unequal_sides(
    neural_network: ModuleType, context: Context
) -> None:
    x = np.random.default_rng(0).normal(size=(30, 5, 7))
    result = train(neural_network, context, data=npz(X=x, y=x[:, 2, 3] > 0), model="cnn", epochs=1)
    assert result.parameters == 160 + 4640 + (32 * 3 * 4 + 1) * 128 + 129 * 2


def test_a_feature_far_from_zero_and_one_that_never_changes_do_no_harm(
    neural_network: ModuleType, context: Context
) -> None:
    rng = np.random.default_rng(0)
    signal = rng.normal(size=200)
    x = np.stack([signal + 1.7e9, np.full(200, 0.1), rng.normal(size=200)], axis=1)
    result = train(neural_network, context, data=npz(X=x, y=signal > 0), epochs=20, batch_size=16)
    assert result.accuracy >= 0.9


def test_nothing_is_learned_after_a_cancel(neural_network: ModuleType, context: Context) -> None:
    seen = []
    for event in neural_network.neural_network(context, epochs=5):
        seen.append(event.epoch)
        context.cancelled = True
    assert seen == [1]
    assert not context.outputs


def test_a_cancel_is_seen_between_two_batches(neural_network: ModuleType, context: Context) -> None:
    network = torch.nn.Linear(2, 2)
    trainer = neural_network.Trainer(
        context, network, torch.rand(100, 2), torch.zeros(100, dtype=torch.long), 1, 0.1
    )
    taken = []
    backward = trainer.backward

    def cancelling(x: torch.Tensor, y: torch.Tensor) -> Any:
        taken.append(x)
        context.cancelled = len(taken) == 3
        return backward(x, y)

    trainer.backward = cancelling
    trainer.epoch(torch.arange(100))
    assert len(taken) == 3


def test_torchs_compiler_and_scikit_learn_are_not_loaded(neural_network: ModuleType) -> None:
    folder = Path(neural_network.__file__ or "").parent
    code = (
        "import sys, tempfile; from pathlib import Path; from runtime import Context;"
        "import neural_network as f;"
        "c = Context.for_test('cpu', folder=Path(tempfile.mkdtemp()));"
        "heavy = {'sklearn', 'PIL', 'scipy', 'safetensors'} & set(sys.modules);"
        "assert not heavy, heavy;"
        "list(f.neural_network(c, epochs=1));"
        "assert not {'torch._dynamo', 'sklearn'} & set(sys.modules)"
    )
    path = f"{folder}:{folder.parent}"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_digits_are_those_that_scikit_learn_gives(neural_network: ModuleType) -> None:
    ours, theirs = neural_network.digits(), load_digits()
    assert np.array_equal(ours.features, theirs.images)
    assert np.array_equal(ours.labels, theirs.target)
    assert ours.features.dtype == theirs.images.dtype


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "has no rows"),
        (b"a,b\n", "has no rows"),
        (b"\x89PNG\r\n\x1a\n", "is no CSV of numbers"),
        (b"1,x\n" * 9, "has 9 rows: send 10"),
        (b"1,x\n" * 12 + b"1,2,x\n", "line 13 has 3 columns"),
        (b"x\ny\n", "line 1 has 1 columns"),
        (b"1,x\n2,y\n?,x\n", "line 3 has more than numbers"),
        (b"a,k\nb,k\n", "line 2 has more than numbers"),
        (b"1,x\n" * 12, "has 1 classes"),
        (b"".join(b"1,%d\n" % i for i in range(1001)), "has 1001 classes: .*not hold measurements"),
        (b"1,x\n2,y\n" * 5 + b"nan,x\n", "infinite or huge number in row 11"),
        (b"1,x\n2,y\n" * 5 + b"1e101,x\n", "infinite or huge number in row 11"),
        (b"1,x\n" * 1_000_002, "more than 1000000 lines"),
        (b"\n".join([b"1," * 16385 + b"x"] * 10), "has 16385 features"),
        (b"1," + b"x" * 200_000, "field larger than field limit"),
        (b"PK\x03\x04 and no more", "is no .npz with the arrays X and y"),
        (npz(X=np.ones((12, 2))), "is no .npz with the arrays X and y .*'y.npy'"),
        (npz(X=np.ones((12, 2)), y=np.ones(11)), r"X of shape \(12, 2\) and y of \(11,\)"),
        (npz(X=np.ones(12), y=np.ones(12)), r"X of shape \(12,\)"),
        (npz(X=np.ones((12, 2)), y=np.array(["a"] * 12)), "y holds <U1"),
        (npz(X=np.ones((12, 2), complex), y=np.ones(12)), "X holds complex128"),
        (npz(X=np.ones((12, 2)), y=np.full(12, np.nan)), "missing or infinite class"),
        (npz(X=np.full((12, 2), np.inf), y=np.arange(12) % 2), "huge number in row 1"),
        (npz(X=np.ones((12, 2), object), y=np.ones(12)), "X holds object"),
        (npz(X=np.zeros((12, 3 * 10**6), np.float64), y=np.ones(12)), "it unpacks to 288"),
    ],
)
def test_data_that_cannot_be_learned_is_refused_with_the_way_out(
    neural_network: ModuleType, context: Context, data: bytes, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said) as raised:
        train(neural_network, context, data=data)
    assert raised.value.errors[0][0] == "/data"
    assert any(word in str(raised.value) for word in ("send", "name", "fill", "give"))


def test_other_packing_than_deflate_is_refused(
    neural_network: ModuleType, context: Context
) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("X.npy", b"")
        archive.writestr("y.npy", b"")
    with pytest.raises(InvalidInput, match="other means than deflate"):
        train(neural_network, context, data=file.getvalue())


@pytest.mark.parametrize(
    ("shape", "said"),
    [((20, 5), "5 features make no square"), ((20, 33, 4), "images up to 32 × 32")],
)
def test_a_cnn_refuses_what_is_no_small_image(
    neural_network: ModuleType, context: Context, shape: tuple[int, ...], said: str
) -> None:
    data = npz(X=np.ones(shape), y=np.arange(20) % 2)
    with pytest.raises(InvalidInput, match=said) as raised:
        train(neural_network, context, data=data, model="cnn")
    assert raised.value.errors[0][0] == "/model"


def test_a_step_so_large_that_the_loss_overflows_is_the_callers_to_mend(
    neural_network: ModuleType, context: Context
) -> None:
    x: NDArray[np.float64] = np.random.default_rng(0).normal(size=(200, 50))
    data = npz(X=x, y=np.arange(200) % 7)
    with pytest.raises(InvalidInput, match=r"makes the loss infinite in epoch .*: try a tenth"):
        train(
            neural_network,
            context,
            data=data,
            learning_rate=1,
            hidden=4096,
            epochs=50,
            batch_size=4,
        )


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.data()))
def test_no_bytes_at_all_make_a_stack_trace(
    load: Callable[[str], ModuleType], data: bytes | st.DataObject
) -> None:
    if not isinstance(data, bytes):
        file = bytearray(npz(X=np.arange(24.0).reshape(12, 2), y=np.arange(12) % 2))
        places = st.tuples(st.integers(0, len(file) - 1), st.integers(0, 255))
        for place, value in data.draw(st.lists(places, max_size=6)):
            file[place] = value
        data = bytes(file)
    read = load("_samples").read_samples
    try:
        samples = read(data)
    except InvalidInput as error:
        assert error.errors[0][0] == "/data"
    else:
        assert len(samples.features) == len(samples.labels) >= 10


def test_the_schema_tells_that_it_streams(described: Callable[[str], FunctionSpec]) -> None:
    spec = described("neural_network")
    properties = spec.input_schema["properties"]
    assert spec.streams and spec.devices == ("cpu", "gpu")
    assert spec.binary == {"data": "application/octet-stream"}
    assert properties["model"]["enum"] == ["mlp", "cnn"]
    assert properties["learning_rate"].items() >= {"exclusiveMinimum": 0, "maximum": 1}.items()
    assert all(p.get("description") for p in properties.values())
    assert "samples_per_second" in str(spec.output_schema)
