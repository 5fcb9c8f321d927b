"""Random models of Python's transformers, what they compute, and whether exported folders compute the same.

    reference.py make <folder>            one folder per model, each with expected.safetensors beside its weights
    reference.py check <model> <folder>…  pairs of a model that make wrote and a folder exported from it; prints JSON
    reference.py whole <folder> <file>    an exported whole model, and a file with its inputs and logits; prints the difference
"""

import json
import os
import sys

import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

TEXT = dict(
    vocab_size=61,
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=500000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)
# ViT-L/14 and ViT-H/14, shrunk: as many heads, narrower; ViT-H's of 80 channels become 10.
VIT_L = dict(hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=16, image_size=56, patch_size=14)
VIT_H = dict(hidden_size=160, intermediate_size=640, num_hidden_layers=2, num_attention_heads=16, image_size=42, patch_size=14, hidden_act="gelu")


def models():
    t = transformers
    yield "llama", t.LlamaForCausalLM(t.LlamaConfig(**TEXT, rms_norm_eps=1e-5))
    yield "llama3", t.LlamaForCausalLM(t.LlamaConfig(**TEXT, rope_parameters=LLAMA3, tie_word_embeddings=True))
    yield "mistral", t.MistralForCausalLM(t.MistralConfig(**TEXT, head_dim=20))
    yield "qwen2", t.Qwen2ForCausalLM(t.Qwen2Config(**TEXT))
    yield "qwen3", t.Qwen3ForCausalLM(t.Qwen3Config(**TEXT, head_dim=32, tie_word_embeddings=True))
    yield "vit-l", t.CLIPVisionModel(t.CLIPVisionConfig(**VIT_L))
    yield "vit-h", t.CLIPModel(
        t.CLIPConfig(
            text_config=dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=20, bos_token_id=1, eos_token_id=2),
            vision_config=VIT_H,
        )
    )


def randomise(model, seed):
    """Large random values for every parameter, so that each one matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            is_scale = value.dim() == 1 and name.endswith("weight")
            value.copy_(1 + 0.2 * noise if is_scale else noise * (0.5 / max(1, value[0].numel() if value.dim() > 1 else 4) ** 0.5))


def compute(model, inputs):
    with torch.no_grad():
        if "tokens" in inputs:
            out = model(input_ids=inputs["tokens"].long(), output_hidden_states=True)
            return {"logits": out.logits, "hidden": out.hidden_states[1]}
        vision = getattr(model, "vision_model", model)
        out = vision(pixel_values=inputs["images"].permute(0, 3, 1, 2), output_hidden_states=True)
        tower = getattr(vision, "vision_model", vision)
        return {
            "features": tower.post_layernorm(out.last_hidden_state)[:, 1:],
            "penultimate": out.hidden_states[-2][:, 1:],
        }


def inputs_of(model):
    generator = torch.Generator().manual_seed(1)
    config = getattr(model.config, "vision_config", model.config)
    if hasattr(config, "image_size"):
        return {"images": torch.randn((2, config.image_size, config.image_size, 3), generator=generator)}
    return {"tokens": torch.randint(0, TEXT["vocab_size"], (2, 24), generator=generator).float()}


def save(folder, model, inputs, **options):
    model.save_pretrained(folder, **options)
    expected = {**inputs, **compute(model, inputs)}
    os.makedirs(os.path.join(folder, "expected"), exist_ok=True)
    save_file({name: value.contiguous() for name, value in expected.items()}, os.path.join(folder, "expected", "expected.safetensors"))


def make(folder):
    for seed, (name, model) in enumerate(models()):
        model.eval()
        randomise(model, seed)
        inputs = inputs_of(model)
        # Several files for one, half precision for another: both read the same whatever they are stored as.
        options = {"max_shard_size": "20KB"} if name == "mistral" else {}
        if name == "qwen2":
            # Not the whole model: the angles stay as they are.
            with torch.no_grad():
                for value in model.parameters():
                    value.copy_(value.bfloat16().float())
        save(os.path.join(folder, name), model, inputs, **options)
        if name == "qwen2":
            half = os.path.join(folder, "qwen2-bf16")
            save(half, model, inputs)
            model.to(torch.bfloat16).save_pretrained(half)
    for name in ["vit-l"]:
        images = transformers.CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size=56)
        images.save_pretrained(os.path.join(folder, name))
        picture(os.path.join(folder, name))


def check(pairs):
    results = {}
    for original, exported in zip(pairs[::2], pairs[1::2]):
        inputs = load_file(os.path.join(original, "expected", "expected.safetensors"))
        config = json.load(open(os.path.join(exported, "config.json")))
        kind = transformers.CLIPVisionModel if "vision" in config["model_type"] else transformers.AutoModelForCausalLM
        model, info = kind.from_pretrained(exported, output_loading_info=True, dtype=torch.float32)
        actual = compute(model.eval(), inputs)
        results[exported] = {
            "apart": max(((value - inputs[name]).abs().max() / inputs[name].abs().max()).item() for name, value in actual.items()),
            "missing": sorted(map(str, info["missing_keys"])),
            "unexpected": sorted(map(str, info["unexpected_keys"])),
        }
    print(json.dumps(results))


def whole(folder, file):
    """A model with average pooling, put together from the parts that an export of a whole model holds."""
    config = json.load(open(os.path.join(folder, "config.json")))
    weights = load_file(os.path.join(folder, "model.safetensors"))

    def below(prefix):
        return {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}

    tower = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**config["vision_config"]))
    tower.load_state_dict(below("vision_tower.vision_model."), strict=True)
    text = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config["text_config"]))
    text.load_state_dict(below("language_model."), strict=True)
    connector = below("multi_modal_projector.")
    given = load_file(file)
    side = round(config["image_seq_length"] ** 0.5)
    with torch.no_grad():
        features = tower(pixel_values=given["images"].permute(0, 3, 1, 2)).last_hidden_state[:, 1:]
        if config["vision_feature_norm"]:
            features = tower.post_layernorm(features)
        count, cells, width = features.shape
        grid = features.transpose(1, 2).reshape(count, width, round(cells**0.5), -1)
        pooled = torch.nn.functional.adaptive_avg_pool2d(grid, side).flatten(2).transpose(1, 2)
        image_tokens = pooled @ connector["projection.kernel"] + connector["projection.bias"]
        embedded = text.get_input_embeddings()(given["tokens"].long())
        index = given["image_token_index"].long()
        embedded[index > 0] = image_tokens.flatten(0, 1)[index[index > 0] - 1]
        logits = text(inputs_embeds=embedded).logits
    print(((logits - given["logits"]).abs().max() / logits.abs().max()).item())


def picture(folder):
    """A picture, and what CLIP's processor makes of it."""
    x, y, c = torch.meshgrid(torch.arange(97), torch.arange(61), torch.arange(3), indexing="xy")
    pixels = ((x * 37 + y * 101 + c * 59 + x * y * 13) % 256).to(torch.uint8)
    image = Image.fromarray(pixels.numpy())
    image.save(os.path.join(folder, "picture.png"))
    processor = transformers.CLIPImageProcessorPil.from_pretrained(folder)
    values = processor(image, return_tensors="pt")["pixel_values"].permute(0, 2, 3, 1).contiguous()
    save_file({"pixels": values}, os.path.join(folder, "expected", "pixels.safetensors"))


if __name__ == "__main__":
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    {"make": make, "check": lambda *pairs: check(pairs), "whole": whole}[sys.argv[1]](*sys.argv[2:])
