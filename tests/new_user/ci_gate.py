"""A job that fails when my model loses its robustness, with a report to look at."""

import subprocess
from pathlib import Path

from my_models import grey_net
from my_pictures import folder
from safetensors.torch import save_file

folder("my_images")
save_file(grey_net().state_dict(), "mine.safetensors")
for eps, code in (("8/255", 0), ("0.25", 1)):
    command = "meddef evaluate --data my_images --channels 1 --image-size 32 --model my_models:grey_net"
    more = f"-w mine.safetensors --attack fgsm --eps {eps} --fail-under 0.5 -o report.html -o table.tex"
    done = subprocess.run([*command.split(), *more.split()], check=False, stderr=subprocess.PIPE, text=True)
    assert done.returncode == code, done.stderr
    assert "<table" in Path("report.html").read_text()
    assert "\\toprule" in Path("table.tex").read_text()
    assert ("0.5 required" in done.stderr) == (code == 1), done.stderr
