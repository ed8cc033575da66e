"""Algorithm 1 of the paper written out for every architecture: a second implementation, without hooks.

Each function runs embeddings, layers and head of a transformers model without padding. `at_input` is called with the
input of every layer, `at_attention` with the state between its attention and its feed-forward part; both return the
state to continue with.
"""

import torch
from transformers.masking_utils import create_bidirectional_sliding_window_mask, create_causal_mask

from hype import HyPe
from tests.tiny import tiny_batch

IDS = tiny_batch()["input_ids"]


def hooks_of(model) -> list:
    """List the forward hooks and forward pre-hooks on the model."""
    hooks = [(*module._forward_pre_hooks.values(), *module._forward_hooks.values()) for module in model.modules()]
    return [hook for of_module in hooks for hook in of_module]


class Recorded:
    """Record the noise that HyPe adds (as its observer), then add the same noise again, draw by draw."""

    def __init__(self):
        self.draws, self.states = [], []

    def observe(self, clean, noised):
        self.draws.append((clean.detach().clone(), noised.detach().clone()))

    def noise(self, draw: int) -> torch.Tensor:
        # In float64 the difference of two float32 numbers of this size is exact, and so is the sum below.
        clean, noised = self.draws[draw]
        return noised.double() - clean.double()

    def add(self, state):
        self.states.append(state.detach())
        return (state.double() + self.noise(len(self.states) - 1)).to(state.dtype)


def run_with_noise(model, ids=IDS, hype_type="uniform", hype_eps=0.5, **options):
    """Return logits and recorded noise of one training forward, by default with large noise."""
    recorded = Recorded()
    with HyPe(model.train(), hype_type, hype_eps, **options) as hype, torch.no_grad():
        hype.observer = recorded.observe
        return model(ids).logits, recorded


def bert(model, ids, at_input, at_attention):
    body = model.base_model
    h = body.embeddings(ids)
    if hasattr(body, "embeddings_project"):
        h = body.embeddings_project(h)
    is_mpnet = hasattr(body.encoder, "compute_position_bias")
    bias = {"position_bias": body.encoder.compute_position_bias(h)} if is_mpnet else {}
    for layer in body.encoder.layer:
        a = at_attention(layer.attention(at_input(h), **bias)[0])
        h = layer.output(layer.intermediate(a), a)
    pooler = getattr(body, "pooler", None)
    return model.classifier(h if pooler is None else pooler(h))


def deberta(model, ids, at_input, at_attention):
    body, encoder = model.deberta, model.deberta.encoder
    embedded = h = body.embeddings(ids)
    mask = torch.ones_like(ids)
    relative = {"relative_pos": encoder.get_rel_pos(h), "rel_embeddings": encoder.get_rel_embedding()}
    for index, layer in enumerate(encoder.layer):
        a = at_attention(layer.attention(at_input(h), encoder.get_attention_mask(mask), **relative)[0])
        h = layer.output(layer.intermediate(a), a)
        if index == 0 and getattr(encoder, "conv", None) is not None:
            h = encoder.conv(embedded, h, mask)  # versions 2 and 3: parallel to layer 0, on its input without noise
    return model.classifier(model.pooler(h))


def xlnet(model, ids, at_input, at_attention, perm_mask=None, target_mapping=None):
    body = model.transformer
    length, batch_size = ids.shape[1], ids.shape[0]
    h, g, mask_h, mask_g = body.word_embedding(ids.T), None, None, None  # (length, batch, hidden)
    if target_mapping is not None:
        target_mapping = target_mapping.permute(1, 2, 0)
        g = body.mask_emb.expand(target_mapping.shape[0], batch_size, -1)  # (targets, batch, hidden)
        mask_g = perm_mask.permute(1, 2, 0)[..., None]
        mask_h = mask_g * (1 - torch.eye(length))[..., None, None]  # the content stream sees its own token
    positions = body.relative_positional_encoding(length, length, bsz=batch_size)
    for layer in body.layer:
        h, g = at_input(h), None if g is None else at_input(g)
        h, g = layer.rel_attn(h, g, mask_h, mask_g, positions, None, target_mapping=target_mapping)[:2]
        h, g = at_attention(h), None if g is None else at_attention(g)
        h, g = layer.ff(h), None if g is None else layer.ff(g)
    return model.logits_proj(model.sequence_summary((h if g is None else g).transpose(0, 1)))


def albert(model, ids, at_input, at_attention):
    body, config = model.albert, model.config
    h = body.encoder.embedding_hidden_mapping_in(body.embeddings(ids))
    for index in range(config.num_hidden_layers):
        group = index * config.num_hidden_groups // config.num_hidden_layers
        for layer in body.encoder.albert_layer_groups[group].albert_layers:
            a = at_attention(layer.attention(at_input(h))[0])
            h = layer.full_layer_layer_norm(layer.ffn_output(layer.activation(layer.ffn(a))) + a)
    return model.classifier(body.pooler_activation(body.pooler(h[:, 0])))


def distilbert(model, ids, at_input, at_attention):
    h = model.distilbert.embeddings(ids)
    for layer in model.distilbert.transformer.layer:
        h = at_input(h)
        a = at_attention(layer.sa_layer_norm(layer.attention(h)[0] + h))
        h = layer.output_layer_norm(layer.ffn(a) + a)
    return model.classifier(torch.relu(model.pre_classifier(h[:, 0])))


def modernbert(model, ids, at_input, at_attention):
    body = model.model
    h = body.embeddings(input_ids=ids)
    window = create_bidirectional_sliding_window_mask(model.config, h, None)
    masks = {"full_attention": None, "sliding_attention": window}
    for layer in body.layers:
        kind = layer.attention_type
        rotary = body.rotary_emb(h, torch.arange(ids.shape[1])[None], kind)
        h = at_input(h)
        a = at_attention(h + layer.attn(layer.attn_norm(h), position_embeddings=rotary, attention_mask=masks[kind])[0])
        h = a + layer.mlp(layer.mlp_norm(a))
    return model.classifier(model.head(body.final_norm(h)[:, 0]))


def gpt2(model, ids, at_input, at_attention):
    body = model.transformer
    h = body.wte(ids) + body.wpe(torch.arange(ids.shape[1])[None])
    for block in body.h:
        h = at_input(h)
        a = at_attention(block.attn(block.ln_1(h))[0] + h)
        h = a + block.mlp(block.ln_2(a))
    return model.score(body.ln_f(h))[:, -1]


def llama(model, ids, at_input, at_attention):
    body = model.model
    h = body.embed_tokens(ids)
    rotary = body.rotary_emb(h, torch.arange(ids.shape[1])[None])
    for layer in body.layers:
        h = at_input(h)
        attended = layer.self_attn(layer.input_layernorm(h), position_embeddings=rotary, attention_mask=None)[0]
        a = at_attention(h + attended)
        h = a + layer.mlp(layer.post_attention_layernorm(a))
    return model.score(body.norm(h))[:, -1]


def t5(model, ids, at_input, at_attention):
    encoder, decoder = model.transformer.encoder, model.transformer.decoder
    e, bias = encoder.embed_tokens(ids), None
    for block in encoder.block:
        a, bias, _ = block.layer[0](at_input(e), position_bias=bias)
        e = block.layer[1](at_attention(a))
    e = encoder.final_layer_norm(e)
    d, bias, cross_bias = decoder.embed_tokens(shifted_right(ids)), None, None
    mask = create_causal_mask(config=decoder.config, inputs_embeds=d, attention_mask=None, past_key_values=None)
    for block in decoder.block:
        a, bias, _ = block.layer[0](at_input(d), attention_mask=mask, position_bias=bias)
        a, cross_bias, _ = block.layer[1](a, key_value_states=e, position_bias=cross_bias)
        d = block.layer[2](at_attention(a))
    return model.classification_head(decoder.final_layer_norm(d)[:, -1])


def bart(model, ids, at_input, at_attention):
    def embed(stack, ids):
        return stack.layernorm_embedding(stack.embed_tokens(ids) + stack.embed_positions(ids))

    def feed_forward(layer, a):
        return layer.final_layer_norm(a + layer.fc2(layer.activation_fn(layer.fc1(a))))

    encoder, decoder = model.model.encoder, model.model.decoder
    e = embed(encoder, ids)
    for layer in encoder.layers:
        e = at_input(e)
        a = layer.self_attn_layer_norm(e + layer.self_attn(e)[0])
        e = feed_forward(layer, at_attention(a))
    d = embed(decoder, shifted_right(ids))
    for layer in decoder.layers:
        d = at_input(d)
        a = layer.self_attn_layer_norm(d + layer.self_attn(d)[0])
        a = layer.encoder_attn_layer_norm(a + layer.encoder_attn(a, key_value_states=e)[0])
        d = feed_forward(layer, at_attention(a))
    return model.classification_head(d[:, -1])


def shifted_right(ids):
    """Start the decoder with the end-of-text token 2, as tests/tiny.py configures it."""
    return torch.cat([torch.full_like(ids[:, :1], 2), ids[:, :-1]], dim=1)


FORWARDS = {
    "bert": bert, "roberta": bert, "xlm-roberta": bert, "camembert": bert, "electra": bert, "xlnet": xlnet,
    "deberta": deberta, "deberta-v2": deberta, "albert": albert, "distilbert": distilbert, "mpnet": bert,
    "modernbert": modernbert, "gpt2": gpt2, "llama": llama, "qwen2": llama, "qwen3": llama, "t5": t5, "mt5": t5,
    "bart": bart,
}  # fmt: skip
