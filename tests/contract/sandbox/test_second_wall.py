"""The process sandbox's second wall stands around programs, where the kernel has it."""

import pytest

from executors.sandbox.interface import Sandbox
from executors.sandbox.process.jail import landlock
from executors.sandbox.process.sandbox import ProcessSandbox
from tests.support.programs import python

pytestmark = pytest.mark.asyncio(loop_scope="session")

MOST_LAYERS = 16  # the kernel's own limit
WALLS_THAT_FIT = """
import ctypes
call = ctypes.CDLL(None).syscall
rules = call(444, ctypes.byref(ctypes.c_uint64(1)), ctypes.c_size_t(8), 0)
count = 0
while call(446, rules, 0) == 0:
    count += 1
print(count)
"""


@pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock")
async def test_programs_are_within_one_layer_of_landlock(sandbox: Sandbox) -> None:
    if not isinstance(sandbox, ProcessSandbox):
        pytest.skip("no part of other sandboxes")
    seen = await sandbox.run(python(WALLS_THAT_FIT), "walls")
    assert (seen.stdout, seen.stderr) == (b"%d\n" % (MOST_LAYERS - 1), b"")
