"""Loads torchvision's compiled operators with a CPU build of torch.

The wheel's extension is linked with CUDA's libraries although its CPU kernels do not call them. Empty libraries that
export the missing symbols let it load; they are compiled in a temporary folder when they are first needed.
"""

import ctypes
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path


def load():
    """Import torchvision with `ops.roi_align`, `ops.roi_pool` and `ops.nms` as compiled kernels."""
    import torch

    found = importlib.util.find_spec("torchvision")
    folder = Path(found.submodule_search_locations[0])
    extension = next(folder.glob("_C*.so"))
    stubs = Path(tempfile.mkdtemp(prefix="torchvision_stubs_"))
    _provide_missing(extension, stubs)
    torch.ops.load_library(str(extension))
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("torchvision._meta_registrations"))
    import torchvision
    from torchvision import extension as state

    state._has_ops = lambda: True
    for module in ("boxes", "roi_align", "roi_pool"):
        part = sys.modules[f"torchvision.ops.{module}"]
        for name in ("_has_ops", "_assert_has_ops"):
            if hasattr(part, name):
                setattr(part, name, lambda: True)
    return torchvision


def _provide_missing(extension, folder):
    """Load empty libraries in place of those that the extension needs and this machine lacks."""
    needed = re.findall(r"NEEDED\s+(\S+)", _run("objdump", "-p", extension))
    symbols = set(re.findall(r"\s(\S+)$", _run("nm", "-D", "--undefined-only", extension), flags=re.MULTILINE))
    ours = {s for s in symbols if "cuda" in s.lower() or "nvtx" in s.lower()}
    versioned = {s.partition("@")[0] for s in ours}
    source = folder / "stub.c"
    source.write_text("".join(f"void {name}(void) {{}}\n" for name in sorted(versioned) if name.isidentifier()))
    for library in needed:
        if "cuda" not in library and "cudart" not in library:
            continue
        target = folder / library
        script = folder / f"{library}.map"
        version = next((s.partition("@")[2].lstrip("@") for s in sorted(ours) if "@" in s and "cudart" in library), "")
        options = []
        if version:
            script.write_text(f"{version} {{ global: *; }};\n")
            options = [f"-Wl,--version-script={script}"]
        subprocess.run(
            [
                shutil.which("gcc") or "gcc",
                "-shared",
                "-fPIC",
                "-w",
                *options,
                "-o",
                target,
                source,
                f"-Wl,-soname,{library}",
            ],
            check=True,
        )
        ctypes.CDLL(str(target), mode=ctypes.RTLD_GLOBAL)


def _run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
