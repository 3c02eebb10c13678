"""C18: a fit of the same network, batch, epochs and Adam: RavineClassifier, scikit-learn's MLPClassifier, and Keras.

`python -m ravine.bench.fit` prints medians of ratios round by round, in CPU seconds and in seconds, and the accuracy of
each way over the seeds. Keras runs in processes of its own, one a back end, with imports and one warm fit left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ravine.bench.common import arguments, finish, ratio

HIDDEN, BATCH, RATE = (128, 128), 64, 1e-3
KERAS = """
import json, os, sys, time
import numpy as np
import keras
given = np.load(sys.argv[1]); epochs = int(sys.argv[2])
def fit(seed):
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Input((given["x"].shape[1],))]
    layers += [keras.layers.Dense(width, activation="relu") for width in (128, 128)]
    net = keras.Sequential([*layers, keras.layers.Dense(int(given["y"].max()) + 1)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(optimizer=keras.optimizers.Adam(1e-3, epsilon=1e-8), loss=loss)
    begin, cpu = time.perf_counter(), time.process_time()
    net.fit(given["x"], given["y"], batch_size=64, epochs=epochs, verbose=0)
    spent = time.perf_counter() - begin, time.process_time() - cpu
    out = np.asarray(net.predict(given["xt"], verbose=0)).argmax(1)
    return [*spent, float((out == given["yt"]).mean())]
fit(0)
print("ready", flush=True)
for line in sys.stdin:
    print(json.dumps(fit(int(line))), flush=True)
"""


class Keras:
    """A process that fits when it is told a seed."""

    def __init__(self, backend: str, data: str, epochs: int) -> None:
        environment = {**os.environ, "KERAS_BACKEND": backend}
        command = [sys.executable, "-c", KERAS, data, str(epochs)]
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if self._line() != "ready":
            raise RuntimeError(f"Keras on {backend} did not start")

    def __call__(self, seed: int) -> list[float]:
        """Seconds, CPU seconds and test accuracy of one fit."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seed}\n")
        self.process.stdin.flush()
        return json.loads(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


def measured(model: Any, data: dict[str, NDArray[Any]]) -> list[float]:
    """Seconds, CPU seconds and test accuracy of one fit."""
    begin, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the epochs end before the loss stands still
        model.fit(data["x"], data["y"])
    spent = time.perf_counter() - begin, time.process_time() - cpu
    return [*spent, float((model.predict(data["xt"]) == data["yt"]).mean())]


def ours(seed: int, data: dict[str, NDArray[Any]], epochs: int) -> list[float]:
    """RavineClassifier on samples that are standardised already."""
    from ravine.estimators import RavineClassifier

    made = RavineClassifier(
        HIDDEN, preprocess="raw", batch_size=BATCH, max_epochs=epochs, learning_rate=RATE, n_iter_no_change=epochs + 1,
        random_state=seed,
    )  # fmt: skip
    return measured(made, data)


def theirs(seed: int, data: dict[str, NDArray[Any]], epochs: int) -> list[float]:
    """MLPClassifier without its own penalty."""
    from sklearn.neural_network import MLPClassifier

    more: dict[str, Any] = {"learning_rate_init": RATE, "alpha": 0.0, "tol": 0.0, "n_iter_no_change": epochs + 1}
    more |= {"batch_size": BATCH, "max_iter": epochs}
    made = MLPClassifier(HIDDEN, random_state=seed, **more)
    return measured(made, data)


def data_of(name: str, rows: int) -> dict[str, NDArray[Any]]:
    """Training and test samples of a problem, standardised, in float32."""
    from ravine.problems import load

    problem = load(name, rows=rows or None)
    x, y = problem.train.x.flatten(1).numpy(), problem.train.y.numpy()
    return {"x": x, "y": y, "xt": problem.test.x.flatten(1).numpy(), "yt": problem.test.y.numpy()}


def contest(name: str, rows: int, epochs: int, rounds: int) -> dict[str, Any]:
    """Every way once a round, in turns."""
    import tempfile

    data = data_of(name, rows)
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        np.savez(file, **data)  # pyright: ignore[reportArgumentType]
        file.flush()
        ways: dict[str, Callable[[int], list[float]]] = {
            "ravine": lambda seed: ours(seed, data, epochs),
            "scikit-learn": lambda seed: theirs(seed, data, epochs),
        }
        for backend in ("torch", "jax"):
            try:
                ways[f"keras on {backend}"] = Keras(backend, file.name, epochs)
            except RuntimeError as error:
                print(error)
        for way in ways.values():
            way(0)
        seen: dict[str, list[list[float]]] = {}
        for seed in range(1, rounds + 1):
            for way, fit in ways.items():
                seen.setdefault(way, []).append(fit(seed))
    figures: dict[str, Any] = {"samples": len(data["x"]), "epochs": epochs}
    for way, rows_ in seen.items():
        wall, cpu, right = (np.array(column) for column in zip(*rows_, strict=True))
        mine = np.array(seen["ravine"])
        figures[way] = {
            "seconds": float(np.median(wall)), "accuracy": [float(right.mean()), float(right.std(ddof=1))],
            "times ravine, seconds": ratio(wall.tolist(), mine[:, 0].tolist()),
            "times ravine, CPU seconds": ratio(cpu.tolist(), mine[:, 1].tolist()),
        }  # fmt: skip
        print(
            f"{name:14} {way:16} {np.median(wall):7.2f} s  {100 * right.mean():.1f} ± {100 * right.std(ddof=1):.1f} %  "
            f"{figures[way]['times ravine, seconds']}  CPU {figures[way]['times ravine, CPU seconds']}"
        )
    return figures


def main() -> None:
    """Digits, and parts of MNIST and Fashion-MNIST where RAVINE_DATA has them."""
    given = arguments(__doc__ or "", rounds=5, rows=8000)
    cases = [("digits", 0, 30)]
    if "RAVINE_DATA" in os.environ:
        cases += [("mnist", given.rows, 5), ("fashion-mnist", given.rows, 5)]
    finish({name: contest(name, rows, epochs, given.rounds) for name, rows, epochs in cases}, given.json)


if __name__ == "__main__":
    main()
