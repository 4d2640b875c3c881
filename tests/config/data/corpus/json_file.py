import json
from pathlib import Path

with (Path(__file__).parent / "packages" / "site.json").open() as stream:
    site = json.load(stream)

bind, workers, accesslog = site["bind"], site["workers"], site.get("accesslog")
logconfig_dict = site["logging"]
