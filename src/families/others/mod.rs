//! Architectures that need nothing but llama.cpp's assumptions about the header (the assertions of its
//! `src/models/*.cpp`).

use super::family::{Architecture, EXPERTS, Family, Need, UNROTATED};
use crate::model::gguf::{Metadata, Value};

/// llama.cpp's own limit.
const MOST_LAYERS: u64 = 512;

pub(super) static FAMILY: Family = Family {
    architectures: &[
        needing("bailingmoe2", &[EXPERTS]),
        needing("bailingmoe3", &[DECAY]),
        needing("dflash", &[GROUPS_AND_WINDOW]),
        needing("glm5-next", &[POOLED_KEYS, FOUR_CONNECTIONS]),
        needing("granitehybrid", &[TWICE_AS_WIDE]),
        needing("grovemoe", &[EXPERTS, EXPERTS_IN_GROUPS]),
        needing("hrm_text", &[CYCLES]),
        needing("hy_v4", &[COMPRESSED_HEADS, UNROTATED]),
        needing("jamba", &[TWICE_AS_WIDE]),
        needing("jina-bert-v2", &[FEED_FORWARD]),
        needing("llada-moe", &[EXPERTS]),
        needing("minimax-m3", &[BLOCKS_OF_KEYS]),
        needing("nanbeige", &[LOOPS]),
        needing("rwkv6", &[MIXING]),
        needing("smallthinker", &[EXPERTS]),
        needing("wavtokenizer-dec", &[VOCODER]),
    ],
    ..Family::PLAIN
};

const fn needing(name: &'static str, needs: &'static [Need]) -> Architecture {
    Architecture {
        name,
        needs,
        ..Architecture::PLAIN
    }
}

const DECAY: Need = Need {
    holds: |header| {
        let bound = match header.get(".kda.gate_lower_bound") {
            Some(Value::Single(bound)) => f64::from(*bound),
            Some(Value::Double(bound)) => *bound,
            _ => -1.0,
        };
        header.boolean(".kda.safe_gate") != Some(false) && bound < 0.0
    },
    otherwise: "the decay of linear attention has no bound below zero",
};

/// Of draft models with several residual streams; others have neither.
const GROUPS_AND_WINDOW: Need = Need {
    holds: |header| {
        let is_some = |key| header.number(key).is_some_and(|number| number > 0);
        let keys = [".attention.output_group_count", ".attention.sliding_window"];
        !is_some(".hyper_connection.count") || keys.into_iter().all(is_some)
    },
    otherwise: "the output of attention has no groups, or attention has no window",
};

const POOLED_KEYS: Need = Need {
    holds: |header| {
        let pool = header.number(".attention.indexer.kpool").unwrap_or(2);
        let chosen = header
            .number(".attention.indexer.top_k")
            .unwrap_or_default();
        pool > 1 && chosen.is_multiple_of(pool)
    },
    otherwise: "the indexer's keys are not pooled in whole numbers",
};

const FOUR_CONNECTIONS: Need = Need {
    holds: |header| header.number(".hyper_connection.count").unwrap_or(4) == 4,
    otherwise: "`hyper_connection.count` is not 4",
};

const TWICE_AS_WIDE: Need = Need {
    holds: |header| {
        let width = header.number(".embedding_length").unwrap_or_default();
        let inner = header.number(".ssm.inner_size").unwrap_or_default();
        Some(inner) == width.checked_mul(2)
    },
    otherwise: "`ssm.inner_size` is not twice `embedding_length`",
};

const EXPERTS_IN_GROUPS: Need = Need {
    holds: |header| header.number(".experts_per_group") != Some(0),
    otherwise: "the groups of experts have none",
};

const CYCLES: Need = Need {
    holds: |header| {
        let keys = [".hrm.layers_per_stack", ".hrm.h_cycles", ".hrm.l_cycles"];
        let [layers, high, low] = keys.map(|key| header.number(key).unwrap_or_default());
        let n_layer = layers
            .saturating_mul(high)
            .saturating_mul(low.saturating_add(1));
        low > 0 && n_layer > 0 && header.number(".block_count") == Some(n_layer)
    },
    otherwise: "the stacks and cycles do not make `block_count` layers",
};

const COMPRESSED_HEADS: Need = Need {
    holds: |header| {
        let keys = [".attention.key_length_mla", ".attention.value_length_mla"];
        keys.iter()
            .all(|key| header.number(key).is_some_and(|length| length > 0))
    },
    otherwise: "the lengths of the compressed heads are missing",
};

/// The up projection is as wide as the feed-forward layer, or twice as wide if it includes the gate.
const FEED_FORWARD: Need = Need {
    holds: |header| {
        let width = header.number(".feed_forward_length").unwrap_or_default();
        sides(header, ".ffn_up.weight")
            .all(|side| side == width || Some(side) == width.checked_mul(2))
    },
    otherwise: "`ffn_up` has neither the width of the feed-forward layer nor twice that",
};

const BLOCKS_OF_KEYS: Need = Need {
    holds: |header| header.number(".attention.indexer.block_size") != Some(0),
    otherwise: "the indexer's blocks are empty",
};

const LOOPS: Need = Need {
    holds: |header| {
        let n_loops = header.number(".num_loops").unwrap_or(1);
        let n_layer = header.number(".block_count").unwrap_or_default();
        n_loops > 0 && n_layer.saturating_mul(n_loops) <= MOST_LAYERS
    },
    otherwise: "`num_loops` makes too few or too many layers",
};

const MIXING: Need = Need {
    holds: |header| {
        let mut blocks = 0..header
            .number(".block_count")
            .unwrap_or_default()
            .min(MOST_LAYERS);
        blocks.all(|block| {
            let names = ["time_mix_lerp_fused", "time_mix_lerp_w"];
            let has = |name| {
                header
                    .tensor(&format!("blk.{block}.{name}.weight"))
                    .is_some()
            };
            names.into_iter().any(has)
        })
    },
    otherwise: "a layer lacks the weights that mix it with the token before",
};

const VOCODER: Need = Need {
    holds: |header| {
        let [width, other] = [".posnet.embedding_length", ".convnext.embedding_length"]
            .map(|key| header.number(key));
        let n_layer = header.number(".block_count").unwrap_or_default();
        let n_posnet = header.number(".posnet.block_count").unwrap_or_default();
        let n_convnext = header.number(".convnext.block_count").unwrap_or_default();
        width == other && n_posnet <= n_layer.min(6) && n_convnext <= n_layer
    },
    otherwise: "the parts of the vocoder do not fit together",
};

/// The second dimension of each tensor whose name ends like this.
fn sides<'a>(header: &'a Metadata, end: &'a str) -> impl Iterator<Item = u64> + 'a {
    let tensors = header
        .tensors
        .iter()
        .filter(move |tensor| tensor.name.ends_with(end));
    tensors.map(|tensor| tensor.shape.get(1).copied().unwrap_or(1))
}
