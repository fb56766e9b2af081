//! Which layers become separable, with how many filters for each channel, in which order: the least loss for each
//! millisecond saved comes first.

/// A way to compute a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Way {
    /// How many filters each input channel has.
    pub multiplier: u32,
    /// Its time.
    pub milliseconds: f64,
    /// What it loses: a share of energy. Losses of several layers add up.
    pub loss: f64,
}

/// A layer and the ways that are open to it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The time of the normal layer.
    pub milliseconds: f64,
    /// Their times and losses.
    pub ways: Vec<Way>,
}

/// For each layer which of its ways it is computed by; none for the normal one.
pub type Setting = Vec<Option<usize>>;

/// What decides which setting is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// The fastest whose error is at most this.
    MaxError(f64),
    /// The one with the least error that is so many times as fast.
    SpeedUp(f64),
}

/// A separable layer must be this many times as fast as the normal one: two measurements of one layer may differ by less.
const GAIN: f64 = 1.05;

/// Settings from all layers normal, each with less time and more loss than the one before.
pub(super) fn settings(candidates: &[Candidate]) -> Vec<Setting> {
    let mut settings = vec![vec![None; candidates.len()]];
    loop {
        let last = settings.last().expect("it begins with one");
        let steps = candidates.iter().enumerate().filter_map(|(layer, candidate)| {
            let (way, rate) = next(candidate, last[layer])?;
            Some((layer, way, rate))
        });
        let Some((layer, way, _)) = steps.min_by(|(.., a), (.., b)| a.total_cmp(b)) else { return settings };
        let mut setting = last.clone();
        setting[layer] = Some(way);
        settings.push(setting);
    }
}

/// The next way of a layer that saves time, and what it loses for each millisecond.
fn next(candidate: &Candidate, now: Option<usize>) -> Option<(usize, f64)> {
    let (time, loss) = now.map_or((candidate.milliseconds / GAIN, 0.0), |way| {
        (candidate.ways[way].milliseconds, candidate.ways[way].loss)
    });
    let faster = candidate.ways.iter().enumerate().filter(|(_, way)| way.milliseconds < time);
    let rated = faster.map(|(index, way)| (index, (way.loss - loss).max(0.0) / (time - way.milliseconds)));
    rated.min_by(|(_, a), (_, b)| a.total_cmp(b))
}

/// What a setting takes of the candidates' time together, in milliseconds.
pub(super) fn milliseconds(candidates: &[Candidate], setting: &Setting) -> f64 {
    let each = candidates.iter().zip(setting);
    each.map(|(candidate, way)| way.map_or(candidate.milliseconds, |way| candidate.ways[way].milliseconds)).sum()
}

/// About `count` places of so many, evenly spread, the first and the last among them.
pub(super) fn spread(length: usize, count: usize) -> Vec<usize> {
    let last = length.saturating_sub(1);
    let mut places: Vec<usize> = (0..count).map(|at| at * last / count.saturating_sub(1).max(1)).collect();
    places.dedup();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(multiplier: u32, milliseconds: f64, loss: f64) -> Way {
        Way { multiplier, milliseconds, loss }
    }

    #[test]
    fn the_least_loss_for_a_millisecond_comes_first() {
        let candidates = [
            Candidate { milliseconds: 10.0, ways: vec![way(1, 2.0, 0.8), way(2, 4.0, 0.1)] },
            Candidate { milliseconds: 4.0, ways: vec![way(1, 1.0, 0.2)] },
            // No way of this one saves time.
            Candidate { milliseconds: 1.0, ways: vec![way(1, 1.0, 0.0), way(2, 0.99, 0.0)] },
        ];
        let settings = settings(&candidates);
        let expected = [[None, None, None], [Some(1), None, None], [Some(1), Some(0), None], [Some(0), Some(0), None]];
        assert_eq!(settings, expected.map(Vec::from));
        let times: Vec<f64> = settings.iter().map(|setting| milliseconds(&candidates, setting)).collect();
        assert_eq!(times, [15.0, 9.0, 6.0, 4.0]);
    }

    #[test]
    fn places_are_spread() {
        assert_eq!(spread(5, 12), [0, 1, 2, 3, 4]);
        assert_eq!(spread(100, 4), [0, 33, 66, 99]);
        assert_eq!(spread(1, 4), [0]);
    }
}
