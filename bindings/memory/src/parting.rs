//! Parting the elements of an array in two.

use arrayvec::ArrayVec;

/// Moves the elements of `from`, from the one at `first` on, that `goes` holds for to the end of `to`; these stay in
/// order, and so do those that are left. No branch depends on an element, so that an order nobody can predict costs
/// nothing: at random, a branch for each took some 15 cycles more.
///
/// # Panics
/// If there is no room in `to` for all of them. If `goes` panics, the elements of `from` are leaked.
#[inline(always)]
pub fn part<T, const N: usize>(
    from: &mut ArrayVec<T, N>,
    first: usize,
    to: &mut ArrayVec<T, N>,
    goes: impl Fn(&T) -> bool,
) {
    let (count, before) = (from.len(), to.len());
    assert!(count.saturating_sub(first) <= N - before, "room for all");
    let (mut stay, mut gone) = (first.min(count), 0);
    // SAFETY: `from` has `count` elements, and claims none of them from now on, so that none is dropped twice, whatever
    // happens. Element `index` is read before anything is written at or behind its place, since `stay` is never above
    // `index`. `to` has room for `before` elements and those from `first` on, and `gone` stays below their number. Each
    // of these is written to both, and counted by one: places that are not counted are written again, or are no
    // elements. At the end the counted places of both together hold each of the elements once.
    unsafe {
        from.set_len(0);
        let (elements, moved) = (from.as_mut_ptr(), to.as_mut_ptr().add(before));
        for index in first..count {
            let element = elements.add(index);
            let is_going = usize::from(goes(&*element));
            moved.add(gone).copy_from_nonoverlapping(element, 1);
            elements.add(stay).copy_from(element, 1);
            gone += is_going;
            stay += 1 - is_going;
        }
        from.set_len(stay);
        to.set_len(before + gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    /// Elements that are dropped once and no more: their counts tell.
    #[test]
    fn each_element_is_in_one_of_both_in_order() {
        let all: Vec<Rc<u32>> = (0..8).map(Rc::new).collect();
        for chosen in 0..256u32 {
            for (before, first) in [(0, 0), (1, 0), (2, 3), (3, 8)] {
                let mut from: ArrayVec<_, 11> = all.iter().cloned().collect();
                let mut to: ArrayVec<_, 11> = (0..before).map(|n| Rc::new(100 + n)).collect();
                let goes = |n: &u32| *n >= first && chosen >> n & 1 != 0;
                part(&mut from, first as usize, &mut to, |element| chosen >> **element & 1 != 0);
                let numbers = |part: &ArrayVec<Rc<u32>, 11>| part.iter().map(|n| **n).collect::<Vec<_>>();
                assert_eq!(numbers(&from), (0..8).filter(|n| !goes(n)).collect::<Vec<_>>());
                assert_eq!(numbers(&to), (100..100 + before).chain((0..8).filter(goes)).collect::<Vec<_>>());
                assert!(all.iter().all(|element| Rc::strong_count(element) == 2));
            }
            assert!(all.iter().all(|element| Rc::strong_count(element) == 1));
        }
    }

    #[test]
    #[should_panic(expected = "room for all")]
    fn there_is_room_for_all() {
        let mut from: ArrayVec<_, 2> = [1, 2].into();
        part(&mut from, 0, &mut [3].into_iter().collect(), |_| false);
    }
}
