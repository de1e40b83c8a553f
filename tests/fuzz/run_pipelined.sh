# run_pipelined.sh FIRST LAST LOG [RANKS]: restarts after the case that a rank failed in alone.
a=$1; last=$2; log=$3; n=${4:-2}
while [ $a -lt $last ]; do
  timeout 3000 ${PY:-python} -m torch.distributed.run --standalone --nproc-per-node $n tests/fuzz/pipelined.py $a $last > $log.part 2> $log.err
  grep -P '^\d+\t' $log.part >> $log
  new=$(grep -oP '^\d+(?=\t)' $log.part | sort -n | tail -1)
  if [ -z "$new" ]; then echo "$a	CRASHED $(tail -c 300 $log.err | tr '\n' ' ')" >> $log; new=$a; fi
  a=$((new+1))
done
