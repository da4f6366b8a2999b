"""Installs packages into an environment by uv, which unpacks them faster than pip.

Usage: install.py ENVIRONMENT PIP-ARGUMENTS...

uv does not read pip's configuration, so its indexes, folders of wheels, constraints and certificate are handed on.
Where uv can't be had or gives up, pip installs.
"""

import os
import subprocess
import sys

# A key of pip's configuration, and the option of uv that means the same.
OPTIONS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "constraint": "--constraint",
    "trusted-host": "--allow-insecure-host",
}


def configuration(python: str) -> dict[str, str]:
    """What pip is configured with, by key; the variables of the environment count more than files."""
    command = [python, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # Lines such as global.find-links='/opt/wheels'; those of variables, :env:.find-links=..., are listed first.
    settings = [line.split("=", 1) for line in listed.splitlines() if "=" in line]
    return {name.rsplit(".", 1)[-1]: value.strip("'\"") for name, value in reversed(settings)}


def main(environment: str, *arguments: str) -> int:
    """Installs, by uv or by pip; returns the exit status."""
    python = f"{environment}/bin/python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    if subprocess.call([*pip, "uv"]) == 0:
        set_for_pip = configuration(python)
        uv = [f"{environment}/bin/uv", "pip", "install", "--quiet", "--python", python]
        uv += ["--index-strategy", "unsafe-best-match"]  # pip's: the newest release of all indexes
        for key, option in OPTIONS.items():
            for value in set_for_pip.get(key, "").split():
                uv += [option, value]
        certificate = {"SSL_CERT_FILE": set_for_pip["cert"]} if "cert" in set_for_pip else {}
        if subprocess.call([*uv, *arguments], env={**os.environ, **certificate}) == 0:
            return 0
        print("uv could not install this: pip tries.", file=sys.stderr)
    return subprocess.call([*pip, *arguments])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
