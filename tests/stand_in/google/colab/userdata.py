import json
import os


class SecretNotFoundError(Exception):
    def __init__(self, key):
        super().__init__(f"Secret {key} does not exist.")


class NotebookAccessError(Exception):
    def __init__(self, key):
        super().__init__(f"Notebook does not have access to secret {key}")


class TimeoutException(Exception):
    pass


def get(key):
    """The secret's text."""
    secrets = json.loads(os.environ.get("COLAB_SECRETS", "{}"))
    if key == "SLOW":
        raise TimeoutException("Requesting secret SLOW timed out. Secrets can only be fetched from the Colab UI.")
    if key not in secrets:
        raise SecretNotFoundError(key)
    if secrets[key] is None:
        raise NotebookAccessError(key)
    return secrets[key]
