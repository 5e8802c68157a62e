"""Print every benchmark table."""

from tests.bench import bench_spine
from tests.bench.table import show

show(f"From images to report ({bench_spine.environment()})", bench_spine.rows())
