//! How many replicas each ReplicaSet of a Deployment may have: surge, unavailability, and the
//! proportional division of a scaling amid a rollout. Pure arithmetic, as upstream's.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, RollingUpdateDeployment};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::revision::{DESIRED, MAXIMUM, annotation};

pub fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

pub fn set_replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

pub fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

pub fn is_rolling(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()).is_none_or(|kind| kind == "RollingUpdate")
}

/// An absolute number, or a percentage of `total`.
fn resolve(value: Option<&IntOrString>, total: i32, round_up: bool) -> i32 {
    match value {
        None => 0,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let hundredths = percent * i64::from(total);
            let whole = if round_up { (hundredths + 99).div_euclid(100) } else { hundredths.div_euclid(100) };
            i32::try_from(whole).unwrap_or(i32::MAX)
        }
    }
}

/// Surge and unavailability in pods; where both come to nothing one may be unavailable, or nothing would ever move.
fn fenceposts(deployment: &Deployment) -> (i32, i32) {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.clone());
    let quarter = || Some(IntOrString::String("25%".to_owned()));
    let rolling =
        rolling.unwrap_or_else(|| RollingUpdateDeployment { max_surge: quarter(), max_unavailable: quarter() });
    let surge = resolve(rolling.max_surge.as_ref(), replicas(deployment), true);
    let unavailable = resolve(rolling.max_unavailable.as_ref(), replicas(deployment), false);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

pub fn max_surge(deployment: &Deployment) -> i32 {
    if is_rolling(deployment) { fenceposts(deployment).0 } else { 0 }
}

pub fn max_unavailable(deployment: &Deployment) -> i32 {
    if !is_rolling(deployment) || replicas(deployment) == 0 {
        return 0;
    }
    fenceposts(deployment).1.min(replicas(deployment))
}

/// The most pods that all sets together may have.
pub fn maximum(deployment: &Deployment) -> i32 {
    replicas(deployment).saturating_add(max_surge(deployment))
}

/// The size of the current set, when all sets have `total` replicas and it has `size` of them.
pub fn next_size(deployment: &Deployment, size: i32, total: i32) -> i32 {
    if !is_rolling(deployment) {
        return replicas(deployment);
    }
    let room = maximum(deployment) - total;
    if room <= 0 { size } else { size + room.min(replicas(deployment) - size) }
}

/// Whether a set has the size it was last meant to have, and it is the deployment's, all available.
pub fn is_saturated(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let wanted = replicas(deployment);
    let desired = annotation(&set.metadata, DESIRED).and_then(|text| text.parse().ok());
    set_replicas(set) == wanted && desired == Some(wanted) && available(set) == wanted
}

/// New sizes of the active sets, when the deployment was scaled while several of them have pods: each
/// gets its share of what is added or taken, and the largest what is left over. In the order given.
pub fn proportional(deployment: &Deployment, sets: &[&ReplicaSet]) -> Vec<i32> {
    let total: i32 = sets.iter().map(|set| set_replicas(set)).sum();
    let allowed = if replicas(deployment) > 0 { maximum(deployment) } else { 0 };
    let to_add = allowed - total;
    let mut order: Vec<usize> = (0..sets.len()).collect();
    // The largest first; of equal ones the newest when growing, the oldest when shrinking.
    order.sort_by(|a, b| {
        let created = |at: &usize| sets[*at].metadata.creation_timestamp.clone();
        let by_age = if to_add > 0 { created(b).cmp(&created(a)) } else { created(a).cmp(&created(b)) };
        set_replicas(sets[*b]).cmp(&set_replicas(sets[*a])).then(by_age)
    });
    let mut sizes: Vec<i32> = sets.iter().map(|set| set_replicas(set)).collect();
    let mut added = 0;
    for at in &order {
        let share = share(deployment, sets[*at], to_add, added);
        sizes[*at] += share;
        added += share;
    }
    if let Some(largest) = order.first() {
        sizes[*largest] = (sizes[*largest] + to_add - added).max(0);
    }
    sizes
}

fn share(deployment: &Deployment, set: &ReplicaSet, to_add: i32, added: i32) -> i32 {
    if set_replicas(set) == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let (fraction, left) = (fraction(deployment, set), to_add - added);
    if to_add > 0 { fraction.min(left) } else { fraction.max(left) }
}

/// By how much a set would change if it kept its part of the deployment.
fn fraction(deployment: &Deployment, set: &ReplicaSet) -> i32 {
    if replicas(deployment) == 0 {
        return -set_replicas(set);
    }
    let before = annotation(&set.metadata, MAXIMUM).and_then(|text| text.parse().ok()).filter(|before| *before != 0);
    let before: i32 = before.unwrap_or_else(|| deployment.status.as_ref().and_then(|s| s.replicas).unwrap_or(0));
    if before == 0 {
        return 0;
    }
    let size = f64::from(set_replicas(set)) * f64::from(maximum(deployment)) / f64::from(before);
    // Both factors are replica counts, so the product is far inside the range of the cast.
    size.round() as i32 - set_replicas(set)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::DeploymentStrategy;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn deployment(replicas: i32, surge: IntOrString, unavailable: IntOrString) -> Deployment {
        let mut deployment = Deployment::default();
        let spec = deployment.spec.get_or_insert_default();
        spec.replicas = Some(replicas);
        let rolling_update =
            Some(RollingUpdateDeployment { max_surge: Some(surge), max_unavailable: Some(unavailable) });
        spec.strategy = Some(DeploymentStrategy { type_: Some("RollingUpdate".to_owned()), rolling_update });
        deployment
    }

    fn percent(text: &str) -> IntOrString {
        IntOrString::String(text.to_owned())
    }

    fn set(size: i32, before: i32, created: i64) -> ReplicaSet {
        let mut set = ReplicaSet::default();
        set.spec.get_or_insert_default().replicas = Some(size);
        set.metadata.annotations = Some([(MAXIMUM.to_owned(), before.to_string())].into());
        let created = jiff::Timestamp::from_second(created).expect("valid");
        set.metadata.creation_timestamp = Some(Time(created));
        set
    }

    #[test]
    fn fences() {
        // replicas, surge, unavailable → maximum, unavailable
        let cases = [
            (10, percent("25%"), percent("25%"), 13, 2),
            (3, percent("25%"), percent("25%"), 4, 0),
            (1, percent("0%"), percent("25%"), 1, 1),
            (5, IntOrString::Int(0), IntOrString::Int(9), 5, 5),
            (0, percent("25%"), percent("25%"), 0, 0),
        ];
        for (replicas, surge, unavailable, most, missing) in cases {
            let deployment = deployment(replicas, surge, unavailable);
            assert_eq!((maximum(&deployment), max_unavailable(&deployment)), (most, missing), "{replicas}");
        }
    }

    #[test]
    fn a_scaling_is_divided() {
        let int = IntOrString::Int;
        /// Wanted, surge, sizes of the sets (oldest first) and their maximum before → sizes.
        type Case = (i32, i32, &'static [i32], i32, &'static [i32]);
        let cases: [Case; 6] = [
            (12, 0, &[6, 4], 10, &[7, 5]),
            (5, 0, &[6, 4], 10, &[3, 2]),
            (15, 3, &[8, 5], 13, &[11, 7]),
            (0, 3, &[8, 5], 13, &[0, 0]),
            (10, 0, &[5, 5], 10, &[5, 5]),
            (11, 0, &[5, 5], 10, &[5, 6]),
        ];
        for (wanted, surge, sizes, before, expected) in cases {
            let sets: Vec<_> = sizes.iter().zip(1..).map(|(size, at)| set(*size, before, at)).collect();
            let sets: Vec<_> = sets.iter().collect();
            assert_eq!(proportional(&deployment(wanted, int(surge), int(0)), &sets), expected, "{sizes:?} to {wanted}");
        }
    }
}
