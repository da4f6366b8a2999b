"""CamVid with one whole drive held back, as a folder of links: what is learned is tested on a street nobody has seen.

    python benchmarks/unseen_drive.py CAMVID OUT [--drive 0006R0]

CamVid's own 101 validation images are of a drive (0016E5) that 204 of its 367 training images are of, too. Here the
training images of `drive` are the validation images, and all others the training images.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--drive", default="0006R0")
    given = parser.parse_args()
    names = [Path(line.split()[0]).name for line in (given.camvid / "train.txt").read_text().splitlines()]
    for split in ("train", "val"):
        chosen = [name for name in names if name.startswith(given.drive) == (split == "val")]
        for folder in ("", "annot"):
            target = given.out / f"{split}{folder}"
            target.mkdir(parents=True)
            for name in chosen:
                (target / name).symlink_to((given.camvid / f"train{folder}" / name).resolve())
        lines = (f"/SegNet/CamVid/{split}/{name} /SegNet/CamVid/{split}annot/{name}\n" for name in chosen)
        (given.out / f"{split}.txt").write_text("".join(lines))
        print(f"{split}: {len(chosen)} images")


if __name__ == "__main__":
    main()
