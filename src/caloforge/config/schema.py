"""Write config.schema.json, with which editors complete and check config.yaml.

Run `python -m caloforge.config.schema` at the top of the checkout after every change of a setting.
"""

import json
from pathlib import Path

from caloforge.atomic import write_text
from caloforge.config.project import Config

SCHEMA_FILE = "config.schema.json"


def schema_text() -> str:
    """The JSON schema (draft 2020-12) of the configuration, as the file holds it."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Config.model_json_schema()
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    write_text(Path(SCHEMA_FILE), schema_text())
