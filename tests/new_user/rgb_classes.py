"""Three classes of equal brightness that differ in colour, and an RGB model."""

import json
import subprocess
from pathlib import Path

import numpy as np
from my_models import hue_net
from PIL import Image
from safetensors.torch import save_file

COLOURS = {"BLUE": (40, 100, 255), "GREEN": (0, 170, 0), "RED": (200, 68, 0)}  # luma 100 each
for name, colour in COLOURS.items():
    Path("my_images", name).mkdir(parents=True)
    for number in range(6):
        noise = np.random.default_rng(number).integers(-20, 21, (32, 32, 1))
        pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(f"my_images/{name}/{number}.png")
save_file(hue_net().state_dict(), "hue.safetensors")
command = "meddef evaluate --data my_images --image-size 32 --model my_models:hue_net -w hue.safetensors"
subprocess.run([*command.split(), "--attack", "clean", "-o", "out.json"], check=True)
rates = json.loads(Path("out.json").read_text())["rates"]
assert (rates[0]["hits"], rates[0]["of"]) == (18, 18)
