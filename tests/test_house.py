"""The package's rules: which modules may import which, and which may know an architecture by name."""

import ast
import re
from pathlib import Path

import keras_segattn
from keras_segattn import list_models

PACKAGE = Path(keras_segattn.__file__).parent
# Layers of the package (floors) from the top down: an import goes to a lower floor, or stays within its part.
FLOORS = (
    {"cli"},
    {"demo"},
    {"__init__"},
    {"application"},
    {"training", "export"},
    {"tasks", "runtimes"},
    {"segmentation", "instances", "attention", "generation"},
    {"classification"},
    {"decoding", "visualize", "data", "weights"},
    {"facts"},
    {"layers"},
    {"registry"},
    {"inputs"},
    {"endpoints"},
    {"fields", "graph"},
    {"ops", "losses", "metrics"},
    {"arguments", "files", "initializers"},
)
# Circular imports: one operation compiled for TensorFlow, and its portable form; each calls the other.
CIRCLES = [{"ops._tensorflow", "ops.grid_sample"}]
# Modules in the folders of architectures that know no architecture: names of ImageNet's classes, noise for generators.
GENERAL = {"classification.imagenet", "generation.latent"}
# Modules outside the folders of architectures that may know one, and the reason.
KNOWING = {
    "demo": ({"segmentation.fcn", "SqueezeNet1_1", "FCN8s"}, "shows one model"),
    "training.fcn_stages": ({"segmentation.fcn_transfer"}, "the stages of one paper, one network filled from another"),
    "training.hard_attention_trainer": ({"attention.show_attend_tell"}, "the gradient of one paper's drawn words"),
    "training.instance_recipes": ({"MNC", "MaskRCNN"}, "recipes are called like their networks"),
    "training.recurrent_stages": (
        {"segmentation.recurrent_conv_net"},
        "the stages of one paper, their losses",
    ),
    "training.segmentation_recipes": ({"FCNAlexNet"}, "a recipe is called like the network that it was published for"),
    "training.sequence_recipes": ({"RNNSearch", "ShowAttendTell"}, "recipes are called like their networks"),
}


def module_of(path):
    """Return the dotted name of a module without the name of the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def part(module):
    return module.partition(".")[0]


def at_run_time(tree):
    """Yield the syntax nodes of a module, except those that only type checkers read."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def imports(module):
    """Yield the modules of the package that a module imports, at the top or inside a function."""
    for node in at_run_time(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports by a relative name"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            top, _, inner = name.partition(".")
            if top == PACKAGE.name:
                # The name is that of a module, or of something in a module.
                yield inner if inner in MODULES else inner.rpartition(".")[0] or "__init__"


ARROWS = {module: set(imports(module)) for module in MODULES}


def reachable(module):
    found, waiting = set(), [module]
    while waiting:
        for other in ARROWS[waiting.pop()] - found:
            found.add(other)
            waiting.append(other)
    return found


def test_every_part_has_a_floor():
    assert sorted({part(module) for module in MODULES}) == sorted(set().union(*FLOORS))


def test_imports_go_down():
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    upward = [
        (module, other)
        for module, others in ARROWS.items()
        for other in others
        if part(other) != part(module) and floor[part(other)] <= floor[part(module)]
    ]
    assert upward == []


def test_imports_make_no_circle():
    # `from package import name` needs the earlier imports of the package's `__init__`, which do not count as a circle.
    reached = {module: reachable(module) for module in MODULES}
    circles = {
        frozenset(other for other in reached[module] if module in reached[other])
        for module in MODULES
        if module in reached[module]
    }
    assert sorted(map(sorted, circles)) == sorted(map(sorted, CIRCLES))


def known(module):
    """Return the architecture modules that a module imports, and the builders that its code names."""
    found = {other for other in ARROWS[module] if part(other) in keras_segattn.FAMILIES} - GENERAL
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    plain = {name.lower().replace("_", ""): name for name in list_models()}
    for node in at_run_time(tree):
        words = []
        if isinstance(node, ast.Name):
            words = [node.id]
        elif isinstance(node, ast.Attribute):
            words = [node.attr]
        elif isinstance(node, ast.alias):
            words = [node.name]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            words = re.findall(r"[\w-]+", node.value)
        found |= {plain[key] for word in words if (key := word.lower().replace("_", "").replace("-", "")) in plain}
    return found


def test_nothing_else_knows_an_architecture():
    others = {module: known(module) for module in MODULES if part(module) not in keras_segattn.FAMILIES}
    others |= {module: known(module) for module in GENERAL}
    assert {module: found for module, found in others.items() if found} == {
        module: names for module, (names, _) in KNOWING.items()
    }
