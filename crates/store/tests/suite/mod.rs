//! What a store promises, the same for every database.

pub(crate) mod config;
pub(crate) mod health;
pub(crate) mod home;
pub(crate) mod hostile;
pub(crate) mod inbox;
pub(crate) mod model;
pub(crate) mod outbox;
pub(crate) mod retention;
pub(crate) mod schema;
pub(crate) mod workers;

/// Hands the name of every promise to a macro that declares the tests.
macro_rules! every_promise {
    ($declare:ident) => {
        $declare! {
            schema::a_plain_insert_gets_a_default_for_everything_else,
            schema::a_status_that_does_not_exist_is_refused_by_the_database,
            schema::migrations_go_up_and_down_and_up_again,
            schema::two_programs_may_migrate_at_once,
            schema::a_schema_of_another_version_is_recognised,
            outbox::a_claim_takes_due_rows_in_order_up_to_its_limit,
            outbox::a_claim_reads_every_column,
            outbox::a_claimed_row_is_nobody_elses,
            outbox::concurrent_claims_share_the_rows_without_overlap,
            outbox::an_expired_lease_is_taken_over_and_its_settlement_touches_nothing,
            outbox::a_renewed_lease_goes_on,
            outbox::a_published_row_is_done_with,
            outbox::an_invalid_row_and_a_failed_one_keep_the_reason,
            outbox::a_retried_row_is_due_after_its_delay_and_not_before,
            outbox::a_user_can_set_the_next_retry_directly,
            outbox::a_clock_that_was_set_back_delays_nothing,
            outbox::a_released_row_is_due_at_once_without_an_attempt,
            outbox::every_kind_of_outcome_is_settled_in_one_call,
            outbox::an_error_text_that_no_database_keeps_is_made_to_fit,
            outbox::only_the_head_of_an_ordering_key_is_due,
            outbox::ordering_keys_differ_in_their_last_character_though_they_are_as_long_as_they_may_be,
            outbox::a_long_queue_behind_one_key_does_not_slow_a_claim,
            outbox::every_ordering_key_has_its_turn,
            outbox::a_due_row_is_found_among_very_many_keys_that_wait,
            outbox::a_store_sees_only_its_own_config,
            outbox::enqueue_writes_what_the_builder_was_told,
            outbox::many_messages_are_written_at_once_in_their_order_or_none_is,
            outbox::a_failed_row_is_tried_again_on_request,
            hostile::text_is_never_taken_for_sql,
            outbox::a_row_of_this_process_is_a_hint,
            inbox::a_message_is_stored_once_however_often_it_comes,
            inbox::a_batch_is_stored_in_the_order_in_which_it_came,
            inbox::equal_json_in_other_words_is_a_duplicate,
            inbox::another_payload_under_the_same_id_is_quarantined,
            inbox::duplicates_and_conflicts_within_a_batch_are_told_apart,
            inbox::a_duplicate_is_known_after_its_row_is_gone,
            inbox::ids_that_differ_in_case_or_in_a_trailing_space_are_distinct,
            inbox::the_same_id_on_another_topic_or_config_is_another_message,
            inbox::a_nul_makes_a_message_unstorable_everywhere,
            inbox::a_culprit_is_set_apart_and_costs_the_others_nothing,
            inbox::a_quarantined_message_is_kept_whatever_it_holds,
            inbox::a_message_delivered_again_is_in_quarantine_once,
            inbox::a_replay_moves_a_message_into_the_inbox_or_changes_nothing,
            inbox::two_stores_may_take_the_same_messages_at_once,
            inbox::a_person_marks_messages_as_done_or_failed,
            inbox::quarantine_is_purged_by_id_by_age_or_altogether,
            model::the_outbox_does_what_a_list_in_memory_would,
            model::the_inbox_does_what_a_list_in_memory_would,
            health::a_healthy_database_has_nothing_to_complain_of,
            health::each_index_of_the_migrations_is_missed_and_the_advice_makes_it_again,
            health::a_row_that_nobody_takes_is_told,
            health::a_lease_of_a_dead_worker_is_told,
            retention::a_row_goes_when_its_days_are_over_and_not_before,
            retention::a_message_goes_when_its_days_are_over_and_not_before,
            retention::a_duplicate_is_known_for_its_days_and_as_long_as_its_row_is_there,
            retention::many_notes_of_one_moment_are_walked_in_batches,
            retention::only_one_cleaner_works_at_a_time,
            retention::eight_cleaners_at_once_are_one_and_seven_that_wait,
            retention::a_run_is_due_by_the_databases_clock,
            retention::rows_that_stay_are_looked_at_once_a_run,
            retention::a_walk_ends_where_rows_are_young_unless_a_person_asks,
            retention::a_config_keeps_what_is_anothers,
            retention::what_is_due_is_counted_and_told,
            retention::in_very_long_tables_what_is_done_with_is_estimated,
            retention::a_published_row_is_deleted_at_once_where_that_is_wanted,
            retention::a_skipped_head_lets_the_next_row_go,
            retention::cleaning_goes_on_beside_the_work,
            config::a_new_config_has_the_contracts_defaults,
            config::importing_twice_changes_nothing,
            config::an_unknown_setting_is_named_and_nothing_is_changed,
            config::a_value_out_of_range_is_refused,
            config::settings_are_set_from_text,
            config::days_are_a_number_or_never,
            config::a_password_is_never_printed,
            workers::a_heartbeat_is_mirrored_into_the_config,
            workers::another_worker_is_heard_of_as_long_as_it_takes_messages_in,
            workers::a_worker_that_was_killed_is_no_other_after_three_heartbeats,
            workers::a_worker_without_heartbeats_is_stale,
            workers::a_first_heartbeat_clears_away_the_dead,
            workers::the_status_counts_rows_by_state,
            workers::a_trace_follows_requests_up_and_down,
        }
    };
}
pub(crate) use every_promise;
