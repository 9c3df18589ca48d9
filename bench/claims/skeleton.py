"""The text of a new claim file, every field explained; what must be filled in is null."""

from __future__ import annotations

SKELETON = """\
# A published number, to be put to the test with `bench claim {name}.yaml`. Fill in what is null
# where a comment says so; what the source leaves unsaid stays null and is never guessed.
who: null           # who says it: a company, a person, a document (must be filled in)
where: null         # where: title, section, page (must be filled in)
as_of: null         # when, as "2026-02-17", "2026-02" or "2026" (must be filled in)
url: null           # a public address, if there is one
quote: null         # the sentence itself, word for word (must be filled in)
note: null          # anything a reader should know
tags: []
# Only if the subject cannot be examined at all (no such model, weights not published):
#   absent: {{what: ..., why: ..., source: ..., as_of: ...}}
absent: null        # why it cannot be examined, as in the line above
says:
  # serving: a model on hardware. The other kinds are shown below.
  kind: serving
  conditions:
    model: null             # a name of conf/model, or the source's own
    quant: null             # precision: a name of conf/quant (none is the published one)
    gpu: null               # the GPU without its form factor: a100-80gb, h100, l40s; cpu for none
    form_factor: null       # sxm, pcie or nvl: the same name can be half as fast
    gpus: null              # how many (0 with gpu: cpu)
    engine: null            # vllm, tensorrt-llm, ...
    engine_version: null    # as a text: "0.32.0"
    input_tokens: null      # prompt length (ISL)
    output_tokens: null     # answer length (OSL)
    concurrency: null       # requests in flight; or rate_per_s below
    rate_per_s: null        # requests arriving per second, in an open loop
    slo: null               # {{ttft_ms: ..., tpot_ms: ..., percentile: 99}} if the number obeys one
    context_tokens: null    # the context that is claimed to fit
    dataset: null           # a data set instead of fixed lengths
    speculative: null       # true or false: more than one token per pass
    architecture: null      # a name of conf/model with the same shape, if the model has no entry
    gpu_memory_gb: null     # where the GPU's name alone does not tell its size
    # for bounds, where the source says them:
    kv_bits: null           # bits of a cache element
    offload: null           # false where weights and cache lie on the GPUs alone
    prefix_reuse: null      # true where parts of prompts came from a cache
    tokens_per_pass: null   # acceptance length of speculation
    phase: null             # both, prefill or decode: the nodes that the number is about
    interactivity_tokens_per_s: null  # the rate that every user still gets
    scenario: null          # MLPerf's offline, server or interactive: lengths and limits follow
    power_scope: null       # gpu, node or facility: what a power or energy covers
    usd_per_gpu_h: null     # the rent behind a cost per token
    nodes: null             # of gpus_per_node each; a rack is form_factor: nvl72
    gpus_per_node: null     # GPUs of one of those nodes
    racks: null             # how many racks, where gpus is unsaid
    host_cpu: null          # with gpu: cpu, the processor's name as in /proc/cpuinfo
    host_cpu_count: null    # with gpu: cpu, its logical cores
    engine_cores: null      # those of them that the engine had, if not all
    unlisted: []            # of model, quant, gpu, engine: whose name here is in no catalogue
  metric: null              # output_tokens_per_s, output_tokens_per_s_per_user, ttft_p99_ms, ...
  definition: null          # what the source says it measures, in its own words
  stated: null              # {{value: 50, high: null, unit: tokens/s, relation: about,
                            #   tolerance: 0.1}}; relation is about, at_least, at_most or below;
                            # high ends a range; tolerance is the slack of "~" and rounding
  curve: []                 # [{{concurrency: 64, value: 3000}}, ...], or interactivity_tokens_per_s
  also: []                  # more numbers of the run: [{{metric: power_mean_w, stated: {{...}}}}]
  reports: []               # others' measurements: {{value, unit, source, as_of, conditions}}
#
# says:                     # a number that follows from others
#   kind: arithmetic
#   stated: {{value: 14000, unit: USD/month}}
#   calculations:
#     - what: the claim's own inputs
#       basis: own          # own or sourced (both can refute), fuller (informs)
#       formula: price * volume
#       terms:
#         price: {{value: 14, unit: USD/Mtok}}
#         volume: {{value: 1, unit: Mtok/month}}
#     # other terms: {{price: provider/model kind, unit: USD/Mtok}} from the price book, and
#     # {{tco: NAME, overrides: [...], figure: [monthly_usd], unit: USD/month}} from bench tco
#
# says:                     # a ratio or percentage over a baseline
#   kind: speedup
#   conditions: {{...}}       # as above, of the praised side
#   baseline: {{...}}         # and of the other
#   metric: output_tokens_per_s
#   definition: null
#   stated: {{value: 2.7, unit: x}}      # or %
#   value: null             # the two numbers, where the source gives them
#   baseline_value: null
#
# says:                     # something published elsewhere: a price, a licence, a size, a rank
#   kind: lookup
#   items:
#     - what: input price
#       stated: {{value: 0.55, unit: USD/Mtok}}    # or text: MIT
#       price: deepseek/deepseek-r1 input          # or catalogue: [deepseek-r1, licence.name]
#       references: []                             # or {{value or text, source, as_of}}
"""


def skeleton(name: str) -> str:
    """The file's text for a claim of this name."""
    return SKELETON.format(name=name)
