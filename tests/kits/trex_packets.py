"""Loads TRex profiles as TRex does and prints what they make; runs on the Python that has TRex's client.

Standard input: [[kind, file, direction, tunables]] in JSON. Standard output: for each, the streams ("stl") or the
profile ("astf") as they go to the server, or "refused" where the profile refuses its tunables.
"""

import json
import sys
import warnings

warnings.simplefilter("ignore")
sys.dont_write_bytecode = True
import lbr_trex_client  # noqa: E402,F401  sets the paths for what follows
from trex.astf.api import ASTFProfile  # noqa: E402
from trex.stl.api import STLProfile  # noqa: E402


def load(kind, file, direction, tunables):
    try:
        if kind == "stl":
            profile = STLProfile.load_py(file, direction=direction, port_id=direction, tunables=tunables)
            # TRex itself catches the exit.
            return "refused" if profile is None else [stream.to_json() for stream in profile.get_streams()]
        return json.loads(ASTFProfile.load(file, tunables=tunables).to_json_str())
    except SystemExit:
        return "refused"


json.dump([load(*case) for case in json.load(sys.stdin)], sys.stdout)
