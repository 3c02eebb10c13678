"""What a user may get wrong on the command line: how it comes about, the command, and what its sentence must hold."""

from __future__ import annotations

import gzip
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from ravine.store import Store


def table(rows: str) -> Callable[[], object]:
    return lambda: Path("my.csv").write_text(rows)


def npz() -> None:
    np.savez("d.npz", x=np.random.default_rng(0).normal(size=(60, 3)), y=np.arange(60) % 2)


def cut_npz() -> None:
    npz()
    Path("d.npz").write_bytes(Path("d.npz").read_bytes()[:200])


def cut_parquet() -> None:
    pl.DataFrame({"a": range(50), "b": range(50)}).write_parquet("d.parquet")
    Path("d.parquet").write_bytes(Path("d.parquet").read_bytes()[:90])


def cut_idx() -> None:
    folder = Path(os.environ["RAVINE_DATA"]) / "mnist"
    folder.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(b"\x00\x00\x08\x03\x00"))


def images() -> None:
    for place, size in enumerate((8, 8, 9, 8)):
        folder = Path("pictures") / ("cat" if place % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (size, size), (place, 9, 9)).save(folder / f"{place}.png")


def cut_image() -> None:
    for place in range(20):
        folder = Path("pictures") / ("cat" if place % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (place, 9, 9)).save(folder / f"{place}.png")
    (Path("pictures") / "dog" / "2.png").write_bytes(b"\x89PNG cut off")


def npy() -> None:
    Path("arrays").mkdir()
    np.save("arrays/x.npy", np.random.default_rng(0).normal(size=(60, 3)))
    np.save("arrays/y.npy", np.arange(60) % 2)


def half_npz() -> None:
    x = np.random.default_rng(0).normal(size=(60, 3))
    np.savez("d.npz", x_train=x, y_train=np.arange(60) % 2, x_test=x)


def module(body: str) -> Callable[[], object]:
    return lambda: Path("mycode.py").write_text(body)


def recipe(text: str) -> Callable[[], object]:
    return lambda: Path("r.toml").write_text(text)


def store(kind: str) -> Callable[[], object]:
    def make() -> None:
        if kind == "text":
            Path("s.db").write_text("this is no database at all")
        elif kind == "version":
            with Store("s.db"):
                pass
            connection = sqlite3.connect("s.db")
            connection.execute("PRAGMA user_version = 99")
            connection.close()
        else:
            connection = sqlite3.connect("s.db")
            connection.execute("CREATE TABLE theirs (a)")
            connection.close()

    return make


GROUPED = "patient,ward,y,a\n" + "".join(
    f"p{i % 6},{('east', 'west')[i % 2]},{('no', 'yes')[(i // 6) % 2]},{i * 0.7}\n" for i in range(24)
)  # fmt: skip
ROWS = "a,b,price\n" + "".join(f"{i},{i % 7},{i % 5}.5\n" for i in range(40))
NET = "import torch\nfrom torch import nn\nx = torch.randn(80, 3)\ny = (x[:, 0] > 0).long()\n"
MISTAKES: dict[str, tuple[Callable[[], object] | None, str, str]] = {
    "problem": (None, "race digts", "did you mean 'digits'"),
    "nothing": (None, "race", "what should race"),
    "rule": (None, "race wine --rules adm", "did you mean 'adam'"),
    "method": (None, "race wine --rules lbfsg", "did you mean 'lbfgs'"),
    "method of residuals": (None, "race wine --rules adam,levenberg-marquardt", "choose one of"),
    "method that refuses": (None, "race wine --rules newton", "newton cannot run in a race"),
    "method with a combinator": (None, "race wine --rules lbfgs --with clip-norm=1", "lbfgs takes no combinators"),
    "method too large": (None, "race digits --rules bfgs", "bfgs keeps a matrix of"),
    "no rule": (None, "race wine --rules ,", "--rules"),
    "experiment": (None, "lab practical-3", "did you mean 'practical-"),
    "no experiment": (None, "lab --quick", "name an experiment"),
    "seeds of an experiment": (None, "lab practical-2 --seeds 2", "greater than or equal to 3"),
    "folder of a page": (table(ROWS), "lab practical-2 --out my.csv/y.html", "is a file, not a folder"),
    "rule to print": (None, "rules nadm", "did you mean 'nadam'"),
    "model": (None, "race wine --model mpl:8", "did you mean 'mlp'"),
    "model of images": (None, "race wine --model cnn:8", "needs images"),
    "model sizes": (None, "race wine --model mlp:0", "widths must be 1 or more"),
    "model beyond memory": (None, "race wine --model mlp:9999999,9999999", "its weights do not fit into memory"),
    "model beyond all": (None, "race wine --model mlp:99999999999", "99999999999 is too large"),
    "no own model": (None, "race wine --model own", "brings no model"),
    "activation": (None, "race wine --activation rele", "did you mean 'relu'"),
    "option": (None, "race wine --epoch 3", "--epochs"),
    "command": (None, "rase wine", "race"),
    "epochs": (None, "race wine --epochs 0", "greater than or equal to 1"),
    "epochs without end": (None, "race wine --epochs 1000000000000", "13,000,000,000,000 steps or more"),
    "recipe's epochs without end": (
        recipe('problem = "wine"\nepochs = 1000000000000\n'),
        "train r.toml",
        "give fewer epochs",
    ),
    "epochs of an ensemble": (
        recipe('problem = "wine"\nepochs = 1000000000000\n'),
        "ensemble r.toml",
        "give fewer epochs",
    ),
    "epochs to look through": (
        recipe('problem = "wine"\nepochs = 1000000000000\n'),
        "lint r.toml",
        "give fewer epochs",
    ),
    "epochs of a batch size": (None, "batch wine --epochs 1000000000000", "give fewer epochs"),
    "workers without end": (None, "race wine --workers 1000000", "less than or equal to 1024"),
    "nothing after an option": (None, "race wine --out=", "--out is given without a value"),
    "nothing after a model": (None, "race wine --model mlp:", "mlp: ends in a colon: write mlp, or mlp:128"),
    "nothing after a loss": (None, "race diabetes --loss huber:", "huber: ends in a colon"),
    "nothing after an initialiser": (None, "race wine --init xavier:", "xavier: ends in a colon"),
    "nothing after a noise": (None, "race wine --noise dropout:", "dropout: ends in ':': write dropout"),
    "nothing after a penalty": (None, "race wine --penalty l2=", "l2= ends in '='"),
    "nothing after a combinator": (None, "race wine --with clip-norm=", "ends in an equals sign"),
    "searched and fixed": (None, "race wine --over dropout=0..0.6 --noise dropout=0.2", "leave one of them out"),
    "penalty searched and fixed": (
        None,
        "race wine --over l2=1e-5..1e-2 --penalty l2=1e-4",
        "l2 is searched over (over) and fixed (penalty)",
    ),
    "rates of a method": (None, "lr wine --rule lbfgs", "lbfgs is a method"),
    "batches of a method": (None, "batch wine --rule lbfgs", "name a rule here"),
    "part": (None, "parts xavir", "did you mean 'xavier'"),
    "part of another kind": (None, "parts relu", "relu is a word for activation"),
    "page of another kind": (None, "lr wine --out lr.pdf", "lr.pdf: name a file that ends in .html"),
    "picture of another kind": (None, "data show digits --out a.pdf", "name a file that ends in .png"),
    "reproduction of another kind": (None, "reproduce run-none --out r.pdf", "ends in .md or .html"),
    "reproduction into a folder": (npy, "reproduce run-none --out arrays", "arrays is a folder: name a file"),
    "report of another kind": (None, "report race-digits-7f3a --out r.txt", "ends in .html"),
    "recipe's table": (
        recipe('problem = "wine"\nschedule = "cosine"\n'),
        "train r.toml",
        """schedule must be a table, got 'cosine'; write [schedule.lr] with name = "cosine" below it""",
    ),
    "recipe's list of tables": (
        recipe('problem = "wine"\npenalty = ["l2"]\n'),
        "train r.toml",
        "[[penalty]] 1 must be a table, got 'l2'",
    ),
    "recipe's list": (recipe('problem = "wine"\nmetrics = [3]\n'), "train r.toml", "metrics, entry 1 must be text"),
    "recipe's choice": (
        recipe('problem = "wine"\ninit = 3\n'),
        "train r.toml",
        "init must be text in quotes or a table, got 3",
    ),
    "recipe's whole number": (
        recipe('problem = "wine"\nepochs = "many"\n'),
        "train r.toml",
        "epochs must be a whole number, got 'many'",
    ),
    "recipe without a problem": (recipe("epochs = 3\n"), "train r.toml", "problem is missing"),
    "seed": (None, "race wine --seed one", "valid integer"),
    "seed beyond the store": (None, "race wine --seed 99999999999999999999", "less than or equal to 46"),
    "recipe's seed": (
        recipe('problem = "wine"\nseed = 9000000000000000000\n'),
        "train r.toml",
        "less than or equal to 46",
    ),
    "seeds without end": (None, "race wine --seeds 1000000000", "less than or equal to 1000"),
    "batch": (None, "race wine --batch 4000", "more than the 10"),
    "budget": (None, "race wine --budget many", "number of configurations"),
    "budget of none": (None, "race wine --budget 0", "number of configurations"),
    "small budget": (None, "race wine --budget 3", "too small for"),
    "huge budget": (None, "race wine --budget 1000000000", "at most"),
    "range": (None, "race wine --over lr=1", "write it as lr="),
    "range upside down": (None, "race wine --over lr=1..0.1", "low end must lie below"),
    "range out of bounds": (None, "race wine --rules adam --over beta1=0.5..1.5", "beta1 must lie in [0, 1)"),
    "decision": (None, "race wine --over dropuot=0..0.5", "did you mean 'dropout'"),
    "decision's value": (None, "race wine --over init=he,xavir", "did you mean 'xavier'"),
    "decision's end": (None, "race wine --over dropout=0.1..1", "drop must lie in (0, 1)"),
    "decision of one": (None, "race wine --over init=he", "write it as lr="),
    "decision of words": (None, "race wine --over activation=0..1", "words have no range"),
    "decision beside another": (
        None,
        "race wine --over loss=hinge,logistic --over label_smoothing=0.1..0.2",
        "label_smoothing belongs to cross_entropy",
    ),
    "range of nothing": (None, "race wine --over rate=0.1..1", "unknown hyperparameter"),
    "range twice": (None, "race wine --over lr=1e-3..1e-1 --over lr=1e-4..1", "lr stands twice"),
    "choice twice": (None, "race wine --over schedule=cosine,cosine", "cosine stands twice"),
    "schedule": (None, "race wine --over schedule=cosin", "did you mean 'cosine'"),
    "combinator": (None, "race wine --with clip=1", "unknown combinator"),
    "combinator's value": (None, "race wine --with clip-global-norm=-1", "clip must lie in"),
    "loss": (None, "race wine --loss mse", "does not fit wine"),
    "loss of numbers": (None, "race diabetes --loss cross_entropy", "does not fit diabetes"),
    "unknown loss": (None, "race wine --loss cross_entropi", "did you mean 'cross_entropy'"),
    "setting of a loss": (None, "race wine --loss hinge:margin=2", "has no settings"),
    "penalty": (None, "race wine --penalty l22=1", "did you mean 'l2'"),
    "penalty of nothing": (None, "race wine --penalty l2=0", "strength must be positive"),
    "penalty's pattern": (None, "race wine --penalty l2=1e-3,on=weights", "no parameter is named weights"),
    "penalty's setting": (None, "race wine --penalty l2:1e-3", "is no setting; write l2=0.1"),
    "noise": (None, "race wine --noise dropuot=0.5", "did you mean 'dropout'"),
    "noise of all": (None, "race wine --noise dropout:drop=1", "drop must lie in (0, 1)"),
    "noise by halves": (None, "race wine --noise dropout:drop=0.2,keep=0.8", "give drop (the share set to 0) or keep"),
    "noise of nothing": (None, "race wine --noise gaussian=0", "std must be positive"),
    "noise elsewhere": (None, "race wine --noise dropout=0.2,on=encoder", "no module is named encoder"),
    "noise on branches": (None, "race wine --noise stochastic-depth=0.2", "has no residual branches"),
    "noise on weights": (None, "race wine --noise dropconnect:drop=0.2,on=2", "2 is a ReLU"),
    "noise twice": (None, "race wine --noise dropout=0.2 --noise dropout=0.3", "stands twice on 2"),
    "no weights": (None, "race wine --transfer nowhere.safetensors", "nowhere.safetensors: no such file"),
    "weights of nothing": (None, "race wine --transfer head=new", "from names none"),
    "setting of a transfer": (None, "race wine --transfer frm=x", "did you mean 'from'"),
    "weights that are text": (table(ROWS), "race wine --transfer my.csv", "neither safetensors nor a torch"),
    "pace of a transfer": (recipe('problem = "wine"\n[transfer]\nunfreeze = 2\n'), "train r.toml", "every = 2"),
    "batch too large": (None, "batch wine --batch 60 --lr 0.1", "leaves less than 4 steps an epoch"),
    "batch of a rule": (None, "batch wine --rule prodigy", "no learning rate of its own"),
    "batch of a seed": (None, "batch wine --seeds 1", "needs 2 or more"),
    "batch's law": (None, "batch wine --law square", "--law: unknown value 'square': did you mean 'sqrt'?"),
    "two targets": (table(ROWS), "race my.csv --target price,bb", "did you mean 'b'"),
    "a target twice": (table(ROWS), "race my.csv --target price,price", "price stands twice"),
    "weight of a target": (table(ROWS), "race my.csv --target price,b:-1", "is a positive number"),
    "loss of two targets": (table(ROWS), "race my.csv --target price,b --loss mse", "leave out loss"),
    "kind of ensemble": (recipe('problem = "wine"\n'), "ensemble r.toml --kind bag", "did you mean 'bagging'"),
    "ensemble of one": (recipe('problem = "wine"\n'), "ensemble r.toml --members 1", "give 2 to 1,000 members"),
    "ensemble without noise": (recipe('problem = "wine"\n'), "ensemble r.toml --kind dropout", "no layer of noise"),
    "ensemble that waits": (recipe('problem = "wine"\npatience = 3\n'), "ensemble r.toml", "patience follows the"),
    "ensemble twice": (recipe('problem = "wine"\nsnapshots = 3\n'), "ensemble r.toml", "give --kind snapshots"),
    "cycles of an ensemble": (
        recipe('problem = "wine"\nepochs = 7\n'),
        "ensemble r.toml --kind snapshots --members 3",
        "give epochs = 9",
    ),
    "ensemble to resume from nothing": (
        recipe('problem = "wine"\n'),
        "ensemble r.toml --resume --out none",
        "no checkpoint is there",
    ),
    "store of an ensemble": (
        recipe('problem = "wine"\n'),
        "ensemble r.toml --store mysql://host/db",
        "mysql is not supported",
    ),
    "ensemble to resume": (recipe('problem = "wine"\n'), "ensemble r.toml --resume", "--resume needs --out"),
    "target of a name": (None, "race wine --target a", "leave it out"),
    "no file": (None, "race nowhere.csv --target a", "no such file"),
    "no target": (table(ROWS), "race my.csv", "target"),
    "another target": (table(ROWS), "race my.csv --target prise", "did you mean 'price'"),
    "empty table": (table(""), "race my.csv --target price", "empty"),
    "one row": (table("a,price\n1,2\n"), "race my.csv --target price", "1 sample is too few"),
    "constant target": (table("a,price\n" + "1,2\n2,2\n" * 20), "race my.csv --target price", "2"),
    "gaps in the target": (table("a,price\n" + "1,2\n2,\n3,5\n" * 9), "race my.csv --target price", "price"),
    "only text": (
        table("a,price\n" + "".join(f"text number {i},{i}.5\n" for i in range(40))),
        "race my.csv --target price",
        "another word in every row",
    ),
    "damaged npz": (cut_npz, "race d.npz", "d.npz"),
    "damaged parquet": (cut_parquet, "race d.parquet --target b", "d.parquet"),
    "damaged idx": (cut_idx, "race mnist", "ubyte"),
    "sizes of images": (images, "race pictures", "8x8"),
    "no module": (None, "race nomod:problem", "no module nomod"),
    "no function": (module("def problem(): pass\n"), "race mycode:problme", "did you mean 'problem'"),
    "raising module": (module("def problem():\n    raise ValueError('mine')\n"), "race mycode:problem", "mine"),
    "raising model": (
        module(NET + "def problem():\n    return {'data': (x, y), 'model': lambda: nn.Linear(3, width)}\n"),
        "race mycode:problem",
        "name 'width' is not defined",
    ),
    "no model": (
        module(NET + "def problem(): return {'data': (x, y), 'model': lambda: 3}\n"),
        "race mycode:problem",
        "give a function that makes an nn.Module",
    ),
    "other width": (
        module(NET + "def problem(): return {'data': (x, y), 'model': lambda: nn.Linear(3, 5)}\n"),
        "race mycode:problem",
        "needed is (2, 2)",
    ),
    "raising loss": (
        module(
            NET + "def loss(out, y): return out - y\n"
            "def problem(): return {'data': (x, y), 'model': lambda: nn.Linear(3, 2), 'loss': loss}\n"
        ),
        "race mycode:problem",
        "loss loss of outputs (2, 2)",
    ),
    "recipe's key": (recipe('problem = "wine"\nepoch = 3\n'), "train r.toml", "did you mean 'epochs'"),
    "recipe's rule": (recipe('problem = "wine"\n[rule]\nname = "adm"\n'), "train r.toml", "did you mean 'adam'"),
    "recipe's bounds": (recipe('problem = "wine"\n[rule]\nname = "adam"\nbeta2 = 1.0\n'), "train r.toml", "[0, 1)"),
    "recipe that is a folder": (npy, "train arrays", "arrays: cannot be read: is a directory"),
    "recipe that is no text": (
        lambda: Path("r.toml").write_bytes(b"\xff\xfe\x00"),
        "recipe explain r.toml",
        "it is not UTF-8 text",
    ),
    "damaged recipe": (recipe("problem = \n"), "train r.toml", "not valid TOML"),
    "no recipe": (None, "train r.toml", "no such file"),
    "recipe's snapshots": (recipe('problem = "wine"\nsnapshots = 4\n'), "train r.toml", "give epochs = 32"),
    "recipe's plateau": (
        recipe('problem = "wine"\n[plateau]\npatence = 4\n'),
        "train r.toml",
        "did you mean 'patience'",
    ),
    "recipe's parts": (recipe('problem = "wine"\naccumulate = 65\n'), "train r.toml", "more than the 64 samples"),
    "recipe's penalty": (
        recipe('problem = "wine"\n[[penalty]]\nname = "l2"\non = "7.weight"\n'),
        "train r.toml",
        "no parameter is named 7.weight",
    ),
    "recipe's smoothing of numbers": (
        recipe('problem = "diabetes"\nloss = {name = "cross_entropy", label_smoothing = 0.1}\n'),
        "train r.toml",
        "does not fit diabetes",
    ),
    "recipe's smoothing twice": (
        recipe('problem = "wine"\nloss = {name = "cross_entropy", label_smoothing = 0.1, smoothing_to_others = 0.1}\n'),
        "train r.toml",
        "two conventions of one thing",
    ),
    "recipe's groups": (
        recipe('problem = "wine"\nmodel = "mlp:10"\nnorm = "group:3"\n'),
        "train r.toml",
        "10 channels do not fall into 3 equal groups",
    ),
    "recipe's norm of nothing": (
        recipe('problem = "wine"\n[[penalty]]\nname = "max-norm"\nmax_norm = 0\n'),
        "train r.toml",
        "max_norm must be positive",
    ),
    "recipe's dropout": (
        recipe('problem = "wine"\n[[noise]]\nname = "dropout"\ndrop = 1.0\n'),
        "train r.toml",
        "drop must lie in (0, 1)",
    ),
    "recipe's augmentation": (
        recipe('problem = "wine"\n[[augment]]\nname = "flip"\n'),
        "train r.toml",
        "flip",
    ),
    "recipe's place of noise": (
        recipe('problem = "wine"\n[[noise]]\nname = "dropout"\ndrop = 0.5\non = "encoder.*"\n'),
        "train r.toml",
        "no module is named encoder.*",
    ),
    "recipe's late pruning": (
        recipe('problem = "wine"\nepochs = 5\n[[penalty]]\nname = "prune"\nstart = 5.0\n'),
        "train r.toml",
        "it would do nothing",
    ),
    "recipe's criterion": (
        recipe('problem = "wine"\nloss = "hinge"\ncriterion = "hinge"\n'),
        "train r.toml",
        "is the loss itself",
    ),
    "recipe to explain": (None, "recipe explain r.toml", "no such file"),
    "recipe to explain whole": (
        recipe('problem = "wine"\nepoch = 3\n'),
        "recipe explain r.toml",
        "did you mean 'epochs'",
    ),
    "recipes to compare": (recipe('problem = "wine"\n'), "recipe diff r.toml s.toml", "s.toml: no such file"),
    "recipe's loss": (
        recipe('problem = "diabetes"\nloss = {name = "mse", label_smoothing = 0.1}\n'),
        "train r.toml",
        "label_smoothing is a setting of cross_entropy",
    ),
    "recipe's growth": (
        recipe('problem = "wine"\n[schedule.batch]\nname = "stepp"\n'),
        "train r.toml",
        "did you mean 'step'",
    ),
    "sampling": (None, "race wine --sampling shufled", "did you mean 'shuffled'"),
    "sampling of numbers": (None, "race diabetes --sampling balanced", "it predicts numbers"),
    "sampling of a method": (None, "race wine --rules adam,lbfgs --sampling random", "takes the whole training part"),
    "recipe's sampling": (recipe('problem = "wine"\nsampling = "blanced"\n'), "train r.toml", "mean 'balanced'"),
    "stream of what is in memory": (None, "race digits --stream", "stream is for folders of images"),
    "stream of a CSV": (table(ROWS), "race my.csv --target price --stream", "stream is for folders of images"),
    "stream of a method": (npy, "race arrays --rules adam,lbfgs --stream", "that of arrays is streamed"),
    "recipe's stream of a method": (
        lambda: [npy(), recipe('problem = "arrays"\nstream = true\nbatch = 8\n[rule]\nname = "lbfgs"\n')()],
        "train r.toml",
        "that of arrays is streamed",
    ),
    "damaged image": (cut_image, "race pictures", "2.png is a damaged image, or none; replace it, or leave"),
    "choice of damaged images": (cut_image, "race pictures --bad-images ignore", "choose one of"),
    "damaged images of a table": (table(ROWS), "race my.csv --target price --bad-images skip", "folders of images"),
    "labels of one part alone": (half_npz, "race d.npz", "x_test alone"),
    "one fold": (recipe('problem = "wine"\n'), "evaluate r.toml --folds 1", "folds must be 2 or more"),
    "more folds than samples": (recipe('problem = "wine"\n'), "evaluate r.toml --folds 500", "500 folds of 178"),
    "weights of one target": (None, "race wine --task-weights learned", "weigh several targets, and wine has one"),
    "weights of targets": (
        table(GROUPED),
        "race my.csv --target y,a --task-weights lernt",
        "write 'learned', or give weights in",
    ),
    "metrics of several targets": (
        table(GROUPED),
        "race my.csv --target y,a --metrics mae",
        "of several targets each has its own metric already",
    ),
    "groups of no column": (table(GROUPED), "race my.csv --target y --groups patent", "did you mean 'patient'"),
    "groups of the target": (table(GROUPED), "race my.csv --target y --groups y", "is the target, and cannot name"),
    "groups of no table": (None, "race wine --groups patient", "column of a CSV or Parquet file, but wine is neither"),
    "too few groups": (table(GROUPED), "race my.csv --target y --groups ward", "need 3 groups at least, and 'ward'"),
    "fewer groups than folds": (
        lambda: (table(GROUPED)(), recipe('problem = "my.csv"\ntarget = "y"\ngroups = "patient"\n')()),
        "evaluate r.toml --folds 7",
        "7 folds need 7 groups at least, and 'patient' names 6",
    ),
    "a class of one group": (
        table(GROUPED.replace("p5,west,no", "p5,west,odd").replace("p5,west,yes", "p5,west,odd")),
        "race my.csv --target y --groups patient",
        "class 'odd' lies in one group alone (patient p5)",
    ),
    "groups with gaps": (
        table(GROUPED.replace("p1,west", ",west")),
        "race my.csv --target y --groups patient",
        "is missing in 4 of 24",
    ),
    "recipe's groups of no column": (
        lambda: (table(GROUPED)(), recipe('problem = "my.csv"\ntarget = "y"\ngroups = "patent"\n')()),
        "train r.toml",
        "did you mean 'patient'",
    ),
    "rules of no race": (recipe('problem = "wine"\n'), "evaluate r.toml --rules sgd", "give --nested, or leave"),
    "budget of no race": (recipe('problem = "wine"\n'), "evaluate r.toml --budget 32", "give --nested, or leave"),
    "ranges of no race": (recipe('problem = "wine"\n'), "evaluate r.toml --over lr=1..2", "give --nested, or leave"),
    "no repeats": (recipe('problem = "wine"\n'), "evaluate r.toml --repeats 0", "repeats must be 1 or more"),
    "lanes of a begun evaluation": (
        recipe('problem = "wine"\n'),
        "evaluate r.toml --out o --resume --lanes 2",
        "leave out --lanes",
    ),
    "folds of nothing": (recipe('problem = "wine"\n'), "evaluate r.toml --resume", "--resume needs --out"),
    "log of a method": (
        recipe('problem = "wine"\n[rule]\nname = "lbfgs"\n'),
        "train r.toml --log-samples",
        "sees all training samples at every step",
    ),
    "log of nothing": (None, "data samples nowhere", "no such file"),
    "log that is none": (table(ROWS), "data samples my.csv", "is no log of samples"),
    "rates of nothing": (None, "lr", "source"),
    "rates of a problem": (None, "lr digts", "did you mean 'digits'"),
    "rates of a rule": (None, "lr wine --rule adm", "did you mean 'adam'"),
    "rates upside down": (None, "lr wine --low 1 --high 0.1", "the lower one first"),
    "rates in few steps": (None, "lr wine --steps 5", "give 40 or more"),
    "rates of no seed": (None, "lr wine --seeds 0", "give 1 or more"),
    "rates of steps without end": (None, "lr wine --steps 1000000000", "give at most 1,000,000 steps"),
    "rates of a batch": (None, "lr wine --batch 4000", "does not fit the"),
    "log": (None, "race wine --log tensorbord", "did you mean 'tensorboard'"),
    "log without a file": (recipe('problem = "wine"\n'), "train r.toml --log csv", "name a file"),
    "log into no folder": (recipe('problem = "wine"\n'), "train r.toml --log jsonl:no/run.jsonl", "no folder no"),
    "log into what is no text": (
        lambda: (recipe('problem = "wine"\n')(), Path("a.csv").write_bytes(b"\xff\xfe\x00")),
        "train r.toml --log csv:a.csv",
        "has other columns",
    ),
    "log into a recipe": (recipe('problem = "wine"\n'), "train r.toml --log jsonl:r.toml", "is no such log"),
    "log into another's table": (
        lambda: (recipe('problem = "wine"\n')(), table(ROWS)()),
        "train r.toml --log csv:my.csv",
        "has other columns",
    ),
    "profile of a method": (
        recipe('problem = "wine"\n[rule]\nname = "lbfgs"\n'),
        "profile r.toml",
        "lbfgs has none: name a rule",
    ),
    "profile into a file": (
        lambda: (recipe('problem = "wine"\n')(), table(ROWS)()),
        "profile r.toml --out my.csv/p.html",
        "not a folder",
    ),
    "reproduce nothing": (None, "reproduce run-none", "nothing is kept yet"),
    "reproduce into a file": (table(ROWS), "reproduce run-none --out my.csv/r.md", "not a folder"),
    "precision": (None, "race wine --precision bfloat", "did you mean 'bfloat16'"),
    "precision of a method": (None, "race wine --rules lbfgs,adam --precision float16", "float16 belongs to rules"),
    "recipe's precision": (recipe('problem = "wine"\nprecision = "float17"\n'), "train r.toml", "mean 'float16'"),
    "metric": (None, "race wine --metrics f1-makro", "did you mean 'f1-macro'"),
    "metric of numbers": (None, "race wine --metrics rmse", "does not fit a target of classes"),
    "metric of no module": (None, "race wine --metrics nomod:f", "no module nomod"),
    "class weights": (None, "race wine --class-weights even", "write 'balanced'"),
    "class weights of numbers": (None, "race diabetes --class-weights balanced", "numbers, not classes"),
    "class weights of no class": (None, "race wine --class-weights clas_1=2", "did you mean 'class_1'"),
    "class weights of a hinge": (None, "race wine --loss hinge --class-weights balanced", "not with hinge"),
    "recipe's monitor": (recipe('problem = "wine"\nmonitor = "acuracy"\n'), "train r.toml", "did you mean 'accuracy'"),
    "rates into a file": (table(ROWS), "lr wine --out my.csv/r.html", "is a file, not a folder"),
    "resume without a folder": (recipe('problem = "wine"\n'), "train r.toml --resume", "--out"),
    "resume from nothing": (recipe('problem = "wine"\n'), "train r.toml --out none --resume", "no checkpoint is there"),
    "resume no race": (None, "race --resume none", "no checkpoint is there"),
    "resume where none is": (None, "race --resume", "no interrupted race"),
    "out is a file": (table(ROWS), "race wine --out my.csv", "is a file, not a folder"),
    "run's out is a file": (recipe('problem = "wine"\n'), "train r.toml --out r.toml", "is a file, not a folder"),
    "no database": (store("text"), "race wine --store s.db", "not a database"),
    "another's database": (store("other"), "race wine --store s.db", "another program"),
    "another version": (store("version"), "race wine --store s.db", "newer ravine"),
    "store of another kind": (None, "race wine --store mysql://u@h/n", "not supported"),
    "empty store": (None, "show race-digits-7f3a", "nothing is kept yet"),
    "report of nothing": (None, "report race-digits-7f3a", "nothing is kept yet"),
    "export to no table": (store("version"), "export a b.xlsx --store s.db", "newer ravine"),
    "predict without a model": (table(ROWS), "predict none my.csv", "no saved model is there"),
    "predict into nothing": (table(ROWS), "predict none my.csv --out p.xlsx", "ends in .csv or .parquet"),
    "proof of no steps": (None, "prove --steps 0", "greater than or equal to 1"),
    "parallel alone": (recipe('problem = "wine"\n'), "train r.toml --parallel ddp", "so torchrun starts it"),
    "parallel of no kind": (recipe('problem = "wine"\n'), "train r.toml --parallel dpp", "choose ddp"),
    "join and a problem": (None, "race wine --join race-wine-1", "give no problem"),
    "join nothing": (None, "race --join race-wine-1", "no shared race of that name"),
    "resume and share": (None, "race --resume --shared", "goes on in one process"),
    "cluster beyond a file": (None, "race wine --ray auto", "--ray"),
}
