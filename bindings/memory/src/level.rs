//! Code compiled twice: for every processor that the program runs on, and for those that have AVX2 and BMI.

/// What is worth compiling twice.
pub trait Work {
    /// What it results in.
    type Output;

    /// Does it. To be `#[inline(always)]`, and so is all that it calls which is to be compiled twice.
    fn run(self) -> Self::Output;
}

/// That the processor has the instructions of x86-64-v3: AVX2 and BMI, as most have since 2013.
#[derive(Clone, Copy, Debug)]
pub struct V3(());

impl V3 {
    /// `None` if it has not.
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("bmi1")
            && std::arch::is_x86_feature_detected!("bmi2")
        {
            return Some(Self(()));
        }
        None
    }

    /// Does some work with them. It is a call, so the work should take longer than that.
    #[inline(always)]
    pub fn run<W: Work>(self, work: W) -> W::Output {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: only `detect` makes a `V3`, if the processor has what this is compiled for.
        return unsafe { compiled_for_v3(work) };
        #[cfg(not(target_arch = "x86_64"))]
        work.run()
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2")]
#[inline(never)]
fn compiled_for_v3<W: Work>(work: W) -> W::Output {
    work.run()
}
