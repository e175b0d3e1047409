use super::*;

/// All sizes and fronts that a table of this capacity goes through, up and down.
fn every_stage(capacity: usize, mut check: impl FnMut(&Extent)) {
    let mut extent = Extent::new(capacity, 10);
    for live in [capacity, 0] {
        let mut steps = 0;
        while let Some(step) = extent.next_step(live) {
            check(&extent);
            extent.take(step);
            check(&extent);
            steps += 1;
            assert!(steps <= 2 * extent.most / REGION, "comes to an end");
        }
        assert_eq!(extent.front, 0);
        assert_eq!(extent.buckets, if live == 0 { extent.least } else { extent.most });
    }
}

#[test]
fn the_largest_size_is_what_the_capacity_needs() {
    for capacity in [1, 25, 1_000, 1_639, 3_277, 10_000, 123_456, 1 << 20, 10_000_000, 1 << 28] {
        let extent = Extent::new(capacity, 10);
        let load = capacity as f64 / (4 * extent.most) as f64;
        assert!(load <= 0.4 * 1.016, "{capacity}: {load}");
        assert!(load >= 0.4 / 1.035 || extent.most < 64 * REGION, "{capacity}: {load}");
        assert!(extent.least < 2 * LEAST_REGIONS * REGION, "{capacity}: {extent:?}");
        assert_eq!(extent.most % REGION, 0);
    }
    assert_eq!(Extent::new(1, 10).most, REGION);
    assert!(Extent::new(10_000_000, 10).most * 64 <= 384 << 20);
}

#[test]
fn a_home_is_where_entries_may_be_and_half_or_twice_of_what_it_was() {
    let spread = (0..2_000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let hashes: Vec<Hash> = spread.chain([0, u64::MAX]).map(Hash).collect();
    every_stage(20_000, |extent| {
        let hole = extent.front..2 * extent.front;
        for hash in &hashes {
            let home = extent.home(*hash);
            assert!(home < extent.buckets && !hole.contains(&home), "{home} in {extent:?}");
            let in_larger = reduce(*hash, extent.buckets);
            assert_eq!(reduce(*hash, extent.buckets / 2), in_larger / 2);
            assert!(home == in_larger || home == in_larger / 2 && home < extent.front);
        }
    });
}

#[test]
fn a_round_visits_every_bucket_that_may_hold_entries_once() {
    every_stage(5_000, |extent| {
        let mut bucket = 0;
        for _ in 0..extent.used() {
            assert!(bucket < extent.front || (2 * extent.front..extent.buckets).contains(&bucket));
            assert_eq!(extent.at_or_after(bucket), bucket);
            let run = extent.run(bucket);
            assert!(bucket + run <= extent.buckets);
            assert_eq!(run > 1, extent.after(bucket) == bucket + 1, "{bucket} in {extent:?}");
            bucket = extent.after(bucket);
        }
        assert_eq!(bucket, 0, "{extent:?}");
        let end = if 2 * extent.front < extent.buckets { 2 * extent.front } else { 0 };
        assert!((extent.front..2 * extent.front).all(|bucket| extent.at_or_after(bucket) == end));
        assert_eq!(extent.at_or_after(extent.most), 0);
    });
}

#[test]
fn positions_follow_one_another_through_all_regions() {
    every_stage(5_000, |extent| {
        let (mut position, mut regions) = (0, 0);
        while position < extent.most {
            let (region, next) = extent.region_at(position);
            assert_eq!(region % REGION, 0);
            assert!(next > position);
            // The hashes of these positions are at home there.
            for within in [position, next - 1] {
                let hash = Hash(((within as u128) << 64).div_ceil(extent.most as u128) as u64);
                assert_eq!(extent.position(hash), within);
                assert!((region..region + REGION).contains(&extent.home(hash)), "{within} in {extent:?}");
            }
            (position, regions) = (next, regions + 1);
        }
        assert_eq!(position, extent.most);
        assert_eq!(regions, extent.used() / REGION);
    });
}

#[test]
fn a_size_is_kept_until_there_are_many_more_or_fewer() {
    let mut extent = Extent::new(100_000, 10);
    let mut sizes = vec![extent.buckets];
    for live in (0..100_000).chain((0..100_000).rev()) {
        let mut is_new = false;
        while let Some(step) = extent.next_step(live) {
            extent.take(step);
            is_new = true;
        }
        if is_new {
            sizes.push(extent.buckets);
            let load = live as f64 / (4 * extent.buckets) as f64;
            assert!((0.14..0.16).contains(&load), "{live} in {}", extent.buckets);
        }
    }
    let doublings = (extent.most / extent.least).ilog2() as usize;
    assert_eq!(sizes.len(), 1 + 2 * doublings, "{sizes:?}");
}

#[test]
fn a_table_that_gets_fuller_while_it_shrinks_turns_back() {
    let mut extent = Extent::new(100_000, 10);
    while let Some(step) = extent.next_step(100_000) {
        extent.take(step);
    }
    let largest = extent;
    for _ in 0..100 {
        let step = extent.next_step(0).unwrap();
        assert!(!step.grows);
        extent.take(step);
    }
    let mut steps = 0;
    while let Some(step) = extent.next_step(90_000) {
        extent.take(step);
        steps += 1;
    }
    assert_eq!(steps, 100);
    assert_eq!((extent.buckets, extent.front), (largest.buckets, 0));
}
