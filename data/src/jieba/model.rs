//! jieba's hidden Markov model: which of the characters that the dictionary leaves alone are words together.
//!
//! Each character begins a word (`B`), ends it (`E`), stands amid it (`M`) or is one by itself (`S`). The best
//! sequence of states is Viterbi's, with ties decided as Python's `max` decides them.

/// jieba's stand-in for the logarithm of 0.
const MIN_FLOAT: f64 = -3.14e100;

/// How often each state occurred where the model was counted. jieba's probabilities are `ln(count / total)`.
const TOTALS: [f64; N_STATES] = [33_749_694.0, 33_749_694.0, 6_980_216.0, 29_953_599.0];

/// `的` as a word by itself: the only count too large to be told from six decimals.
const LARGEST_COUNT: (char, usize, f64) = ('的', S, 3_188_252.0);

const N_STATES: usize = 4;
const B: usize = 0;
const E: usize = 1;
const M: usize = 2;
const S: usize = 3;

/// For each state the two that may stand before it. Of two equally good ones the second is taken, whose letter
/// is the greater.
const BEFORE: [[usize; 2]; N_STATES] = [[E, S], [B, M], [B, M], [E, S]];

/// The tables as `jieba-macros` has them, by states in the order `B E M S`.
mod tables {
    use super::MIN_FLOAT;

    jieba_macros::generate_hmm_data!();
}

/// The model, its probabilities by character.
pub(super) struct Model {
    emissions: Vec<[f64; N_STATES]>,
}

impl Model {
    /// The tables of `jieba-macros` have six decimals. They are logarithms of counts, so the counts are found again
    /// and with them the numbers that jieba has, to the last bit.
    pub(super) fn new() -> Self {
        let first = u32::from(tables::HMM_HAN_MIN);
        let mut emissions: Vec<[f64; N_STATES]> = (first..=u32::from(tables::HMM_HAN_MAX))
            .map(|code| emissions_of(code).unwrap_or([MIN_FLOAT; N_STATES]))
            .collect();
        let (c, state, count) = LARGEST_COUNT;
        emissions[(u32::from(c) - first) as usize][state] = (count / TOTALS[state]).ln();
        Self { emissions }
    }

    /// Gives the words of a run of Chinese characters; `states` is room to work in.
    pub(super) fn cut<'a>(
        &self,
        run: &'a str,
        states: &mut Vec<u8>,
        on_word: &mut impl FnMut(&'a str),
    ) {
        self.find_states(run, states);
        let mut begin = 0;
        for ((start, c), &state) in run.char_indices().zip(states.iter()) {
            let end = start + c.len_utf8();
            match usize::from(state) {
                B => begin = start,
                E => on_word(&run[begin..end]),
                S => on_word(&run[start..end]),
                _ => {}
            }
        }
    }

    /// Leaves the best sequence of states in `states`, one for each character.
    fn find_states(&self, run: &str, states: &mut Vec<u8>) {
        states.clear();
        let mut scores = [0.0; N_STATES];
        for c in run.chars() {
            let emission = self.emission(c);
            let is_first = states.is_empty();
            let (mut next, mut choices) = ([0.0; N_STATES], 0);
            for state in 0..N_STATES {
                if is_first {
                    next[state] = tables::INITIAL_PROBS[state] + emission[state];
                    continue;
                }
                let [one, other] = BEFORE[state].map(|before| {
                    scores[before] + tables::TRANS_PROBS[before][state] + emission[state]
                });
                next[state] = if one > other { one } else { other };
                choices |= u8::from(one <= other) << state;
            }
            scores = next;
            // Until the end is known: which of the two states before was better, a bit for each state.
            states.push(choices);
        }
        let mut state = if scores[E] > scores[S] { E } else { S };
        for entry in states.iter_mut().rev() {
            let before = BEFORE[state][usize::from(*entry >> state & 1)];
            *entry = state as u8;
            state = before;
        }
    }

    fn emission(&self, c: char) -> &[f64; N_STATES] {
        &self.emissions[(u32::from(c) - u32::from(tables::HMM_HAN_MIN)) as usize]
    }
}

/// The logarithms of a character that the tables know, in full precision.
fn emissions_of(code: u32) -> Option<[f64; N_STATES]> {
    let place = code.checked_sub(tables::EMIT_MIN_CHAR)? as usize;
    let row = *tables::EMIT_INDEX.get(place)?;
    let rounded = (row != tables::EMIT_NONE).then(|| tables::EMIT_PROBS[usize::from(row)])?;
    let exact = |state: usize| match rounded[state] {
        MIN_FLOAT => MIN_FLOAT,
        log => ((TOTALS[state] * log.exp()).round() / TOTALS[state]).ln(),
    };
    Some(std::array::from_fn(exact))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_those_of_jieba_to_the_last_bit() {
        let model = Model::new();
        let check = |c, expected| assert_eq!(*model.emission(c), expected, "{c}");
        check(
            '一',
            [-3.6544978750449433, -6.044987536255073, -4.428158526435913, -4.92368982120877],
        );
        check(
            '的',
            [-8.39293643333216, -6.412327557547894, -7.241997408474285, -2.2401766800588425],
        );
        check('龑', [MIN_FLOAT, -17.334481908575043, MIN_FLOAT, MIN_FLOAT]);
    }
}
