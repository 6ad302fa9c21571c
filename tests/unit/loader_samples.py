"""Workflows that load: that of the design, and one with everything the language has."""

ORDERS = """\
# yaml-language-server: $schema=../schemas/workflow.json
name: Daily orders
description: Fetch every region's orders, total them, load them.
queue: workflow_execute
priority: normal
timeout: 30m
variables:
  day:     {type: date, required: true, description: The day to load}
  regions: {type: list, items: string, default: [eu, us]}
  dry_run: {type: boolean, default: false}

steps:
  - id: fetch
    foreach: {in: "${{ variables.regions }}", as: region, max_parallel: 8}
    call: shop.orders:fetch                 # a Python function; what it returns is the output
    with: {region: "${{ region }}", day: "${{ variables.day }}"}

  - id: total
    call: shop.orders:total
    with:
      frames: ${{ steps.fetch.output }}     # a real list, in item order

  - parallel:
      - id: load
        if: steps.total.output.rows > 0 and not variables.dry_run
        run: ["./load.sh", "${{ variables.day }}"]
        retry: {max_retries: 5, delay: 2s, backoff: 2, max_delay: 1m}
      - id: archive
        run: |
          tar czf "orders-$DAY.tgz" parts/
        env: {DAY: "${{ variables.day }}"}
        files: [orders-*.tgz]

on_failure:
  - {id: page, uses: log, with: {level: error, message: "failed at ${{ error.step }}: ${{ error.message }}"}}
outputs:
  rows: ${{ steps.total.output.rows }}
"""

EVERYTHING = """\
id: everything
name: Everything
version: 1.5
labels: {team: data}
priority: 7
max_retries: 0
max_parallel: 4
timeout: ${{ variables.limit }}
secrets: [TOKEN]
env: {DAY: "${{ variables.limit }}", TOKEN: "${{ secrets.TOKEN }}"}
defaults: {retry: {max_retries: 2, if: error.retryable}, timeout: 90}
variables:
  limit: {type: duration, default: 5m}
  box: {type: object, fields: {width: number, tags: {type: list, items: string}}}
  document: {type: file}
steps:
  - {id: first, output: null}
  - {output: "${{ item | default(index | default(0)) }}", if: error is not defined}
  - id: docker
    run: docker inspect --format '{{.State.Status}}' "$NAME"
    env: {NAME: "${{ steps.first.status }}"}
  - id: helm
    uses: template.render
    with: {template: "Hello {{ name }}", values: {name: "${{ variables.box.width }}"}}
  - id: rounds
    until: output.json.done or index > 3
    every: 10s
    max_times: 20
    run: [./poll.sh, "${{ index }}"]
    output: {json: "${{ output.json }}", round: "${{ index }}"}
    retry: 3
    on_failure: [{uses: log, with: {message: "${{ error.message }} ${{ steps.rounds.error }}"}}]
  - id: groups
    foreach: [1, 2, 3]
    parallel:
      - {id: left, output: "${{ item }}", needs: []}
      - {id: right, output: "${{ steps.left.output + index }}"}
      - {id: joined, output: "${{ steps.left.status }}", needs: {any: 1, of: [left, right]}}
    output: ${{ steps.left.output }}
    on_error: continue
  - id: chosen
    switch:
      - {if: "'groups' in steps.groups.output | map('string') | list", steps: [{id: yes, output: 1}]}
      - steps: [{id: otherwise, uses: stop, with: {status: cancelled}}]
    output: ${{ output | default(steps.yes.output | default(0)) }}
  - id: files
    call: json:dumps
    with: {obj: "${{ variables.document.sha256 }}", anything: 1}
    files: ["*.json"]
    timeout: ${{ variables.limit }}
    on_crash: fail
  - {needs_files: [files], needs: [files], run: cat *.json, cwd: "${{ task.id }}", shell: sh, secrets: [OTHER]}
on_cancel: [{uses: log, with: {message: "${{ error.message | default('cancelled') }}"}}]
finally: [{uses: log, if: error is defined, with: {message: "${{ error.code }}"}}]
outputs: {rounds: "${{ steps.rounds.output.round }}", now: "${{ now() }}", kind: "${{ trigger.kind }}"}
"""
