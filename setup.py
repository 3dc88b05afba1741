"""Installs stpn beside a torch and a detectron2 that are there already; bootstrap.py installs those, too.

torch, torchvision, detectron2 and OpenCV are left out of the requirements on purpose: a detectron2 is built
against one torch, and opencv-python and opencv-python-headless overwrite each other, so pip must not choose.
"""

from setuptools import find_packages, setup

setup(
    name="stpn",
    version="0.1.0",
    description="Spatio-temporal prompting for video tasks, on detectron2",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["stpn", "stpn.*"]),
    scripts=[f"projects/STPN/{name}.py" for name in ("train_net", "demo", "evaluate", "convert_weights")],
    install_requires=[
        "av",
        "fvcore",
        "huggingface-hub",
        "iopath",
        "numpy>=1.26",
        "pycocotools",
        "safetensors",
        "scikit-learn",
        "scipy",
        "tensorboard",
        "timm",
        "tqdm",
    ],
    extras_require={
        "opencv": ["opencv-python-headless"],
        "test": ["hypothesis", "pytest", "pytest-timeout", "pytest-xdist"],
    },
)
