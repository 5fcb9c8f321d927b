#!/usr/bin/env python3
"""Opens every shard of a Weft checkpoint with the `safetensors` package and compares it with the manifest.

    python3 scripts/check-safetensors.py .weft/runs/<run>/checkpoints/step-00000060

Takes the folder of a checkpoint or its manifest.json. Prints one line per tensor; the exit status is 1 when a name,
shape or dtype differs, 2 when the check could not be made.
"""

import argparse
import json
import sys
from pathlib import Path

DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32", "U8": "uint8"}


def main():
    parser = argparse.ArgumentParser(description="Checks a Weft checkpoint with Python's safetensors package.")
    parser.add_argument("checkpoint", type=Path, help="folder of a checkpoint, or its manifest.json")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    arguments = parser.parse_args()

    try:
        import numpy
        from safetensors import safe_open
    except ImportError as error:
        fail(f"this check needs the Python package {error.name}: run `{sys.executable} -m pip install safetensors numpy`")

    manifest_path = arguments.checkpoint
    if manifest_path.is_dir():
        manifest_path = manifest_path / "manifest.json"
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        expected = {file["name"]: {} for file in manifest["files"]}
        for tensor in manifest["tensors"]:
            expected[tensor["file"]][tensor["name"]] = tensor
    except FileNotFoundError:
        fail(f"{manifest_path} does not exist: name the folder of a checkpoint that was completed")
    except (ValueError, KeyError, TypeError) as error:
        fail(f"{manifest_path} is no manifest of a checkpoint: {type(error).__name__} {error}")

    problems = []
    rows = []
    for file, tensors in expected.items():
        path = manifest_path.parent / file
        try:
            shard = safe_open(str(path), framework="np")
        except Exception as error:
            problems.append(f"{file}: cannot be opened: {error}")
            continue
        with shard:
            found = set(shard.keys())
            for name in sorted(found - tensors.keys()):
                problems.append(f"{file}: {name} is not in the manifest")
            for name, tensor in tensors.items():
                if name not in found:
                    problems.append(f"{file}: {name} is missing")
                    continue
                array = shard.get_tensor(name)
                row = {
                    "name": name,
                    "dtype": str(array.dtype),
                    "shape": list(array.shape),
                    "file": file,
                    "finite": bool(numpy.isfinite(array).all()),
                    "max_abs": float(numpy.abs(array).max()) if array.size else 0.0,
                }
                rows.append(row)
                wanted = DTYPES.get(tensor["dtype"], tensor["dtype"])
                if row["dtype"] != wanted:
                    problems.append(f"{file}: {name} has dtype {row['dtype']} instead of {wanted}")
                if row["shape"] != tensor["shape"]:
                    problems.append(f"{file}: {name} has shape {row['shape']} instead of {tensor['shape']}")

    if arguments.json:
        print(json.dumps({"step": manifest.get("step"), "tensors": rows, "problems": problems}, indent=2))
    else:
        print_table(manifest, rows, problems)
    sys.exit(1 if problems else 0)


def print_table(manifest, rows, problems):
    header = ("tensor", "dtype", "shape", "max |x|", "file")
    lines = [header] + [
        (
            row["name"],
            row["dtype"],
            "×".join(map(str, row["shape"])) or "scalar",
            f"{row['max_abs']:.4g}" if row["finite"] else "not finite",
            row["file"],
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    print()
    for problem in problems:
        print(f"PROBLEM {problem}")
    verdict = f"{len(problems)} problems" if problems else "names, shapes and dtypes agree with the manifest"
    files = len(manifest["files"])
    print(f"step {manifest.get('step')}: {len(rows)} tensors in {files} file{'s' if files != 1 else ''}: {verdict}")


def fail(sentence):
    print(sentence, file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
