"""An attack of my own, on my model."""

import json
import subprocess
from pathlib import Path

from my_models import grey_net
from my_pictures import folder
from safetensors.torch import save_file

folder("my_images")
save_file(grey_net().state_dict(), "mine.safetensors")
command = "meddef evaluate --data my_images --channels 1 --image-size 32 --model my_models:grey_net"
more = "-w mine.safetensors --attack my_attacks:darker --eps 0.25 --set steps=2 -o out.json"
subprocess.run([*command.split(), *more.split()], check=True)
found = json.loads(Path("out.json").read_text())["headline"]
assert (found["clean_accuracy"], found["robust_accuracy"]) == (1.0, 0.0)
