#!/bin/sh
# Produce a read with kcat: sh produce_kcat.sh [localhost:9092]
#
# The key, before the tab, is the plate in normal form: upper case, only letters and digits
# (`engine.normalize` is the whole rule). A read without a key is also matched, but more slowly. The
# header lists an alternate to be matched.
set -eu
bootstrap=${1:-localhost:9092}
topic=${2:-lpr.detections.v1}
now=$(date -u +%Y-%m-%dT%H:%M:%S.000Z)
printf '7ABC123\t{"read_id":"gate-1-000044","plate":"7abc 123","captured_at":"%s","source":"city-north","camera":"gate-1","alternates":[{"plate":"7abc 128","confidence":0.4}]}\n' "$now" |
    kcat -P -b "$bootstrap" -t "$topic" -K '\t' -H alternates=7ABC128 -X acks=all -X partitioner=murmur2_random
