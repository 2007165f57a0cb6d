//! A small generator of pseudo-random numbers for the pure layers: the same seed gives the same
//! numbers.

/// `SplitMix64` (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014). Good
/// enough for choosing peers, but not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 if `n` is 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % n).unwrap_or(0)
    }

    /// Removes a random element and returns it.
    pub(crate) fn take<T>(&mut self, from: &mut Vec<T>) -> Option<T> {
        let at = self.below(from.len());
        (!from.is_empty()).then(|| from.swap_remove(at))
    }

    /// Removes random elements, at most `n`, and returns them.
    pub(crate) fn sample<T>(&mut self, from: &mut Vec<T>, n: usize) -> Vec<T> {
        std::iter::from_fn(|| self.take(from)).take(n).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_chooses_the_same_and_each_is_chosen_as_often_as_the_others() {
        let chosen = |seed| {
            let (mut dice, mut of) = (Dice::new(seed), (0..9).collect::<Vec<usize>>());
            dice.sample(&mut of, 3)
        };
        assert_eq!(chosen(7), chosen(7));
        assert_ne!(chosen(7), chosen(8));
        let mut times = [0; 9];
        for seed in 0..9_000 {
            for n in chosen(seed) {
                times[n] += 1;
            }
        }
        assert!(times.iter().all(|times| (2_800..3_200).contains(times)), "{times:?}");
        assert_eq!(Dice::new(1).take(&mut Vec::<u8>::new()), None);
    }
}
