//! How tokens are sampled.

use super::*;

#[test]
fn a_seed_fixes_the_result() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let mut llama = load(&params(path));
    let mut run = |spec: &Spec| generate(&mut llama, 0, STORY, spec, 16);
    let first = run(&Spec::seeded(7));
    assert_eq!(run(&Spec::seeded(7)), first);
    assert_ne!(run(&Spec::seeded(8)), first);
    let mut random = Spec::seeded(0);
    random.params.seed = None;
    assert_ne!(run(&random), run(&random));
}

#[test]
fn rows_sampled_in_parallel_get_what_they_would_get_alone() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let mut llama = load(&params(path));
    let rows: Vec<_> = (0..6)
        .map(|seq| row(seq, 0, 100 + 7 * i32::try_from(seq).unwrap(), true))
        .collect();
    assert_eq!(llama.decode(&rows), Ok(Decoded::Done));
    let samplers = |llama: &Llama| -> Vec<_> {
        (0..6)
            .map(|seed| Spec::seeded(seed).sampler(llama, &[]).unwrap())
            .collect()
    };
    let mut alone = samplers(&llama);
    let picks = (0..)
        .zip(&mut alone)
        .map(|(row, sampler)| Pick { row, sampler });
    let one_by_one: Vec<_> = picks
        .map(|pick| llama.sample(&mut [pick]).remove(0))
        .collect();
    let mut together = samplers(&llama);
    let picks = (0..)
        .zip(&mut together)
        .map(|(row, sampler)| Pick { row, sampler });
    assert_eq!(llama.sample(&mut picks.collect::<Vec<_>>()), one_by_one);
}

#[test]
fn penalties_see_the_prompt_and_options_out_of_range_are_refused() {
    let _one = one_at_a_time();
    let Some(path) = model(SMOLLM2) else { return };
    let mut llama = load(&params(path));
    let plain = generate(&mut llama, 0, STORY, &Spec::greedy(), 1);
    let mut spec = Spec::greedy();
    spec.params.presence_penalty = 100.0;
    spec.params.repeat_last_n = -1;
    let prompt = tokens(&llama, STORY);
    let row = feed(&mut llama, 0, 0, &prompt);
    let pick = |llama: &mut Llama, seen: &[Token], spec: &Spec| {
        let mut sampler = spec.sampler(llama, seen).unwrap();
        let sampler = &mut sampler;
        llama
            .sample(&mut [Pick { row, sampler }])
            .remove(0)
            .unwrap()
    };
    assert_ne!(pick(&mut llama, &plain, &spec), plain[0]);
    assert_eq!(pick(&mut llama, &[], &spec), plain[0]);
    // The token is out of the window again.
    spec.params.repeat_last_n = 2;
    assert_eq!(pick(&mut llama, &[plain[0], 1, 2], &spec), plain[0]);
    let mut only_one = Spec::seeded(1);
    only_one.params.top_k = 1;
    assert_eq!(pick(&mut llama, &[], &only_one), plain[0]);
    for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        spec.params.repeat_penalty = bad;
        assert!(spec.sampler(&llama, &[]).is_err(), "{bad}");
    }
}
