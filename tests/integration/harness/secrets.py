"""Files that hold passwords."""

import os


def secret_file(path, text: str) -> str:
    """With mode 0600."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return str(path)
