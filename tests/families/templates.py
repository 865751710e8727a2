"""Chat templates in the manner of the families; what stands for a picture is put in for `PICTURE`."""

_PARTS = "{% for p in m.content %}{% if p.type == 'image' %}PICTURE{% else %}{{ p.text }}{% endif %}{% endfor %}"


def _turns(before: str, after: str, begin: str, ask: str) -> str:
    asked = "{% if add_generation_prompt %}" + ask + "{% endif %}"
    return begin + "{% for m in messages %}" + before + _PARTS + after + "{% endfor %}" + asked


def of(template: str, picture: str, **replaced: str) -> str:
    """Return a template with the mark of a picture, and other marks exchanged."""
    for old, new in replaced.items():
        template = template.replace(old, new)
    return template.replace("PICTURE", picture)


_NL = "{{ '\\n' }}"
CHATML = _turns("<|im_start|>{{ m.role }}" + _NL, "<|im_end|>" + _NL, "", "<|im_start|>assistant" + _NL)
USER = _turns("{{ m.role | upper }}: ", " ", "", "ASSISTANT:")
BRACKETS = _turns("[INST]", "[/INST]", "{{ bos_token }}", "")
SMOL = _turns(
    "{{ m.role | capitalize }}:{% if m.content[0].type == 'text' %} {% endif %}",
    "<end_of_utterance>\n",
    "BEGIN",
    "Assistant:",
)
COHERE = _turns(
    "<|START_OF_TURN_TOKEN|>{{ '<|CHATBOT_TOKEN|>' if m.role == 'assistant' else '<|USER_TOKEN|>' }}",
    "<|END_OF_TURN_TOKEN|>",
    "{{ bos_token }}",
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
)
GEMMA = _turns("OPEN{{ m.role }}" + _NL, "CLOSE" + _NL, "{{ bos_token }}", "OPENmodel" + _NL)
GLM = _turns("<|{{ m.role }}|>" + _NL, "", "[gMASK]<sop>", "<|assistant|>" + _NL)
LLAMA = _turns(
    "<|OPEN|>{{ m.role }}<|CLOSE|>" + _NL + _NL, "<|EOT|>", "{{ bos_token }}", "<|OPEN|>assistant<|CLOSE|>" + _NL + _NL
)
JANUS = _turns("<|{{ m.role | capitalize }}|>: ", _NL + _NL, "", "<|Assistant|>:")
PLAIN = _turns("{{ m.role | capitalize }}: ", _NL + _NL, "", "Assistant:")
KIMI = _turns(
    "<|im_{{ m.role }}|>{{ m.role }}<|im_middle|>", "<|im_end|>", "", "<|im_assistant|>assistant<|im_middle|>"
)
