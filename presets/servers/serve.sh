#!/bin/bash
# Starts vLLM, and keeps its address in a file of a folder from when it answers until SIGTERM.
#
#     bash serve.sh FOLDER MODEL [options of vllm serve]
#
# HOST: the name or address by which others reach this host (default: its full name); PORT: 8000; DRAIN_S: seconds
# between removing the file and stopping the server (30), in which its last requests are answered. Anyone who can reach
# the port can use the model: export VLLM_API_KEY, and give the refresh the same key in OPENAI_API_KEY.
set -euo pipefail
folder=$1 model=$2
shift 2
host=${HOST:-$(hostname -f)} port=${PORT:-8000}
file=$folder/$host-$port
mkdir -p "$folder"

vllm serve "$model" --host 0.0.0.0 --port "$port" "$@" &
server=$!

leave() {
    trap '' TERM INT
    if [ -e "$file" ]; then
        rm -f "$file"
        for ((second = 0; second < ${DRAIN_S:-30}; second++)); do
            kill -0 "$server" 2>/dev/null || break
            sleep 1
        done
    fi
    kill "$server" 2>/dev/null || true
    wait "$server" || true
}
trap leave EXIT
trap 'exit 0' TERM INT

until curl --silent --fail --max-time 5 --output /dev/null "http://127.0.0.1:$port/health"; do
    kill -0 "$server" # it ended: so does this
    sleep 2
done
printf 'http://%s:%s/v1\n' "$host" "$port" >"$folder/.$host-$port"
mv "$folder/.$host-$port" "$file" # atomic: no reader sees half an address
wait "$server"
