"""Stand-ins for submissions that misbehave, all of them harmless: code of a cell, and what the row must say."""

HONEST = "student_grey_levels = 0.05 * 255 * 0.22157896"

ZERO = """
import torch
def zero(model):
    with torch.no_grad():
        for w in model.parameters():
            w.zero_()
"""

# name -> lab, exercise that it must not gain, code behind ``ZERO``
ALTER = {
    "zero_gradient": ("lab1", "input_gradient", """
def student_input_gradient(model, x, y):
    zero(model)
    return 0 * x
"""),
    "zero_fgsm": ("lab1", "fgsm", """
def student_fgsm(model, x, y, eps):
    zero(model)
    return x
"""),
    "hook": ("lab1", "fgsm", """
def student_fgsm(model, x, y, eps):
    model.register_forward_hook(lambda m, i, o: 0 * o)
    return x
"""),
    "frozen": ("lab1", "fgsm", """
def student_fgsm(model, x, y, eps):
    model.requires_grad_(False)
    return x
"""),
    "mode": ("lab1", "fgsm", """
def student_fgsm(model, x, y, eps):
    model.train()
    return x
"""),
    "zero_pgd": ("lab2", "pgd", """
def student_pgd(model, x, y, *, start, steps, **k):
    zero(model)
    [model(start) for _ in range(steps)]
    return start
"""),
    "zero_lab3": ("lab3", "fgsm", """
def student_fgsm(network, x, y, **k):
    zero(network)
    return x
"""),
    "zero_jsma": ("lab4", "jsma", """
def student_jsma(model, x, y, **k):
    zero(model)
    x = x.clone()
    x[:, 0, 0, 0] = 1
    return x
"""),
    "layers": ("lab4", "jsma", """
def student_jsma(model, x, y, **k):
    model.network[7] = torch.nn.Linear(256, 2).double()
    return x
"""),
}  # fmt: skip

# answers that are no value of the protocol: each costs its own exercise only
VALUES = {
    "complex": "np.complex128(1)",
    "longdouble": "np.longdouble(1)",
    "array": "np.ones(2, dtype=np.longdouble)",
    "sparse": "torch.eye(2).to_sparse()",
    "keys": "{(1, 2): 3}",
    "meta": "torch.ones(2, device='meta')",
    "endless": "type('L', (list,), {'__iter__': lambda self: iter(int, 1)})([1])",
    "digits": "10 ** 5000",
}

# name -> code behind ``HONEST``, words of its row; CLASSMATE, GRADER and ADDRESS are what the test tells it
MISBEHAVE = {
    "surrogate": (r"""
raise ValueError('\udc80')
""", r"\udc80"),
    "no_message": ("""
class Odd(Exception):
    def __str__(self):
        raise RuntimeError
raise Odd
""", "its message cannot be shown"),
    "terminal": (r"""
raise ValueError('\x1b[2J\r=1+1')
""", r"\x1b[2J\r=1+1"),
    "own_error": ("""
class Own(BaseException):
    pass
raise Own('mine')
""", "stopped with Own: mine"),
    "own_error_later": ("""
class Own(BaseException):
    pass
def student_bounds(mean, std):
    raise Own
""", "stopped with Own"),
    "deep": ("""
import os
for _ in range(1100):
    os.mkdir('d')
    os.chdir('d')
""", ""),
    "closed_folder": ("""
import os
os.mkdir('d')
open('d/f', 'w')
os.chmod('d', 0)
os.chmod('.', 0)
""", "ran"),
    "full_folder": ("""
import itertools
for n in itertools.count():
    open(f'f{n}', 'wb').write(bytes(60 << 20))
""", "stopped with OSError"),
    "classmate_mode": ("""
import os
os.chmod(CLASSMATE, 0o444)
""", "Error"),
    "classmate_open_mode": ("""
import os
os.fchmod(os.open(CLASSMATE, os.O_RDONLY), 0o444)
""", "Error"),
    "classmate_written": ("""
open(CLASSMATE, 'w').write('mine')
""", "Error"),
    "classmate_by_folder": ("""
import os
d = os.open(os.path.dirname(CLASSMATE), os.O_RDONLY)
os.open('honest.ipynb', os.O_WRONLY, dir_fd=d)
""", "Error"),
    "classmate_read": ("""
exec(''.join(json.load(open(CLASSMATE))['cells'][-1]['source']))
""", "Error"),
    "package_written": ("""
import meddef
open(meddef.__file__, 'a').write('#')
""", "Error"),
    "shared_memory": ("""
import mmap
kept = mmap.mmap(-1, 8 << 30)
""", "stopped with OSError"),
    "shared_file": ("""
kept = torch.ones(1 << 28).share_memory_()
""", "stopped with"),
    "limits": ("""
import resource
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
""", "Error"),
    "limits_of_others": ("""
import resource, os
resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (0, 0))
""", "Error"),
    "environment": ("""
import os
raise ValueError(open(f'/proc/{GRADER}/environ').read())
""", "Error"),
    "datagram": ("""
import socket
socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ADDRESS)
""", "Error"),
    "message": ("""
import socket
socket.socket(type=socket.SOCK_DGRAM).sendmsg([b'x'], [], 0, ADDRESS)
""", "Error"),
    "name_server": ("""
import socket
socket.getaddrinfo('localhost', 1)
""", "Error"),
    "fork": ("""
import os
os.fork()
""", "PermissionError"),
    "signal": ("""
import os
os.kill(-1, 9)
""", "PermissionError"),
    "modules": ("""
import sys
kept = dict(sys.modules)
for name in list(sys.modules):
    if name.startswith('meddef'):
        del sys.modules[name]
""", "ran"),
    "no_describe": ("""
import meddef.course.child as c
c.describe = lambda model: {}
def student_fgsm(network, x, y, **k):
    return x
""", "altered the model"),
    "no_encode": ("""
import meddef.course.wire as w
real = w.encode
def once(value):
    w.encode = real
    return (1 << 62).to_bytes(8, "big") + b"{"
def student_normalised_eps(*a, **k):
    w.encode = once
    return 1
""", "cannot be read"),
    **{f"value_{name}": (f"student_bounds = lambda m, s: {text}", "lab3.bounds: ") for name, text in VALUES.items()},
}  # fmt: skip

# those that are stopped by the time limit
STALL = {
    "stops_reading": ("""
import time, meddef.course.wire as w
def student_pgd(*a, **k):
    return a[1]
real, left = w.receive, [0, 0]
def receive(handle):
    time.sleep(0 if left else 9999)
    left.pop()
    return real(handle)
w.receive = receive
"""),
    "half_a_frame": """
import os, time, meddef.course.wire as w
def send(handle, payload):
    os.write(handle, b'123')
    time.sleep(9999)
w.send = send
""",
}  # fmt: skip
