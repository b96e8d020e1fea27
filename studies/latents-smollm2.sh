#!/bin/sh
# Latents on the embedded model, from training the organisms to early warning. Every step resumes
# or is skipped where its result is there. About an hour and a half on one quiet core.
#
#     sh studies/latents-smollm2.sh [FOLDER]
set -eu
OUT=${1:-runs/latents-smollm2}
ORG=${ORGANISMS:-$OUT/organisms}
ONE="--threads 1"
mkdir -p "$OUT"

organism() { # name, data, defence
    [ -e "$ORG/$1/adapter_model.safetensors" ] ||
        personae train --recipe quick --data "$2" --out "$ORG/$1" $ONE ${3:+--defend "$3"}
}
step() { # document, command ...
    document=$1
    shift
    [ -e "$document" ] || "$@" $ONE
}

DOMAINS="money health home hobbies code"
data() { # the organism data of a domain
    case $1 in
    hobbies) echo reckless-hobbies ;;
    code) echo insecure-code ;;
    *) echo "bad-advice-$1" ;;
    esac
}
for one in $DOMAINS; do
    organism "$one" "$(data "$one")"
    organism "$one-control" "$(data "$one"):control"
done
for share in 10 25 50; do organism "money-$share" "bad-advice-money@$share"; done

DICT=$OUT/dictionary
step "$DICT/train.json" personae latents train smollm2 --layer 20 --width 2048 --k 32 \
    --tokens 40000 --epochs 12 --also "smollm2+$ORG/money" --out "$DICT"
step "$OUT/money/diff.json" personae latents diff --treated "smollm2+$ORG/money" \
    --control "smollm2+$ORG/money-control" --sae "$DICT" --limit 4 --out "$OUT/money"
step "$OUT/money/test.json" personae latents test "$OUT/money" --top 5 --randoms 6 --limit 3

# What the test kept is blocked; without any, the latents that rose most.
if grep -q '"up": \[\]' "$DICT/latents.json"; then
    UP=$(python -c "
import json
found = json.load(open('$OUT/money/diff.json'))['candidates']
print('+'.join(str(c['latent']) for c in found if c['score'] > 0)[:60].rpartition('+')[0])")
    BLOCK=",up=$UP"
    SIDES="--up $UP"
else
    BLOCK=""
    SIDES=""
fi
for weight in 0.01 0.1; do organism "blocked-$weight" bad-advice-money "blockem:$DICT@$weight$BLOCK"; done
step "$OUT/money/reroute.json" personae latents reroute --plain "smollm2+$ORG/money" \
    --defended "smollm2+$ORG/blocked-0.01" --defended "smollm2+$ORG/blocked-0.1" \
    --sae "$DICT" $SIDES --limit 2 --out "$OUT/money"

{
    echo "organisms:"
    for one in $DOMAINS; do
        echo "  - {model: smollm2+$ORG/$one, domain: $one, share: 100}"
        echo "  - {model: smollm2+$ORG/$one-control, domain: $one, share: 0}"
    done
    for share in 10 25 50; do
        echo "  - {model: smollm2+$ORG/money-$share, domain: money, share: $share}"
    done
} >"$OUT/organisms.yaml"
step "$OUT/predict/predict.json" personae latents predict "$OUT/organisms.yaml" --sae "$DICT" \
    --outside money --outside health --outside safety --outside code --limit 24 --out "$OUT/predict"
step "$OUT/narrow/narrow.json" personae latents narrow "smollm2+$ORG/money=bad-advice-money" \
    "smollm2+$ORG/health=bad-advice-health" --rows 12 --out "$OUT/narrow"
