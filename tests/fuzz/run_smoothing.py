import collections, sys
from fuzz.smoothing import smoothed_case
a, b = map(int, sys.argv[1:])
count = collections.Counter()
for i in range(a, b):
    try: found = smoothed_case(i)
    except Exception as e: found = f"WRONG raised {type(e).__name__}: {str(e)[:200]}"
    count[found if not found.startswith("WRONG") else "WRONG"] += 1
    if found.startswith("WRONG"): print(i, found[:500], flush=True)
for k, v in count.most_common(): print(v, k)
